# R33: while a relay is healthy, the follower repeatedly learns that the chat is running on the same worker: a
# message is queued, and notices are duplicated. The relay stays as it is, and the parts continue.
guards S2
replicas A C

only A works
user sends "one"
model on A says 2 parts
viewer V on C watches chat
within 1s V sees status running on A
within 1s V sees parts 1..2 of A
C dialed A once
from now on V sees no preview_reset

notices to C are doubled
user sends "two"
within 200ms V sees queue of 1
model on A says 1 part
within 200ms V sees part 3 of A
user withdraws last
within 200ms V sees queue of 0
model on A says 1 part
within 200ms V sees part 4 of A
C has 1 connection to A
for 5s C dials nobody

model on A finishes
within 500ms V sees answer of 4 parts
