# R18: the relay is established before the model has generated anything. A viewer that subscribes then finds
# it empty at first, and so does a second one later. Both see every part.
guards S2 L1
replicas A C

only A works
user sends "one"
viewer V on C watches chat
within 1s V sees status running on A
within 200ms C has 1 connection to A
wait 500ms
viewer W on C watches chat
within 500ms W sees status running on A
within 100ms W sees synced
wait 500ms
model on A says 3 parts
within 100ms V sees parts 1..3 of A
within 100ms W sees parts 1..3 of A
C dialed A once
