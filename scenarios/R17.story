# R17: a worker has acquired the chat and everybody has seen `running`, but because its database is slow
# nothing has been generated or buffered yet. Viewers that subscribe at this moment, at the worker or
# elsewhere, see all parts that come later, through the relay that was dialed in the meantime.
guards S2
replicas A B C

only A works
database of A is slow by 500ms
user on B sends "one"
within 2s chat is running on A
viewer V on C watches chat
viewer W on A watches chat
within 200ms V sees status running on A
within 100ms C has 1 connection to A
model on A is gone
model on A says 3 parts
within 100ms V sees parts 1..3 of A
within 2s W sees parts 1..3 of A
C dialed A once
model on A says 1 part
within 100ms V sees part 4 of A
within 100ms W sees part 4 of A
