# R02: the relay has broken, and before the follower dials again the chat becomes idle. The change of status
# does not depend on a relay: viewers get it at once.
guards B2
replicas A C

only A works
user sends "one"
model on A says 2 parts
viewer V on C watches chat
within 1s V sees status running on A
within 1s V sees parts 1..2 of A

link between A and C breaks
model on A finishes
within 300ms V sees answer of 2 parts
within 100ms V sees status waiting
C dialed A once
for 5s C dials nobody
V leaves
within 20s nothing is left on C
