# T6: the chat moves from worker A to worker B without becoming idle, while the follower's dial to A is in
# flight. That dial is cancelled, B is dialed exactly once, and B's parts arrive.
guards S3 S5 B2
replicas A B C
grace 100ms

only A works
dials from C to A hang
user on B sends "one"
model on A says 2 parts
viewer V on C watches chat
within 1s V sees status running on A
within 200ms C has 1 dial to A

from now on V sees no part of A
only B works
A drains
within 1s V sees status running on B
within 200ms C has no dials to A
model on B says 3 parts
within 500ms V sees parts 1..3 of B
C dialed B once
for 5s C dials nobody
