# T1: the relay breaks in the middle of an episode. The follower dials again and gets the parts that it lacks.
# The viewer sees one stream without gaps or repeats.
guards S2 S1 L1
replicas A C

only A works
user sends "one"
model on A says 3 parts
viewer V on C watches chat
within 1s V sees status running on A
within 1s V sees parts 1..3 of A
C dialed A once

from now on V sees no preview_reset
link between A and C breaks
model on A says 2 parts
within 1s V sees parts 4..5 of A
C dialed A twice
C has 1 connection to A

model on A says 1 part
within 200ms V sees part 6 of A
model on A finishes
within 500ms V sees answer of 6 parts
within 100ms V sees status waiting
