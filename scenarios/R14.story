# R14: the first dials fail, and later a relay breaks and the next dial fails as well. As long as the worker
# is the same, the follower retries after the delay, and the stream continues.
guards L1 S2
replicas A C

only A works
dials from C to A fail
user sends "one"
model on A says 2 parts
viewer V on C watches chat
within 1s V sees status running on A
for 1700ms V sees no part
C dialed A 4 times
dials from C to A complete
within 600ms V sees parts 1..2 of A
C dialed A 5 times

from now on V sees no preview_reset
link between A and C breaks
next dial from C to A fails
model on A says 1 part
within 1200ms V sees part 3 of A
C has 1 connection to A
model on A finishes
within 500ms V sees answer of 3 parts
