# T7: the first dial fails. After the delay there is one more, and it succeeds.
guards L1 S2
replicas A C

only A works
next dial from C to A fails
user sends "one"
model on A says 2 parts
viewer V on C watches chat
within 1s V sees status running on A
C dialed A once
for 300ms V sees no part
within 500ms V sees parts 1..2 of A
C dialed A twice
for 5s C dials nobody
