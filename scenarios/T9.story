# T9: three relays break one after the other. The follower dials again each time, and the viewer sees one
# stream.
guards S2 L1
replicas A C

only A works
user sends "one"
model on A says 2 parts
viewer V on C watches chat
within 1s V sees status running on A
within 1s V sees parts 1..2 of A
from now on V sees no preview_reset

link between A and C breaks
model on A says 1 part
within 1s V sees part 3 of A

link between A and C breaks
model on A says 1 part
within 1s V sees part 4 of A

link between A and C breaks
model on A says 1 part
within 1s V sees part 5 of A

C dialed A 4 times
C has 1 connection to A
model on A finishes
within 500ms V sees answer of 5 parts
