# T3: the worker has two parts in its buffer when the follower comes, and a third one comes live.
guards S2
replicas A C

only A works
user sends "one"
model on A says 2 parts
wait 500ms
viewer V on C watches chat
within 1s V sees status running on A
within 1s V sees parts 1..2 of A
model on A says 1 part
within 200ms V sees part 3 of A
C dialed A once
