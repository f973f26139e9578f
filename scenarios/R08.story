# R08: the user sends a message between an interrupt and its end. When the partial answer is committed, the
# turn of that message begins.
guards S6 S8
replicas A C

only A works
user sends "one"
model on A says 2 parts
viewer V on C watches chat
within 1s V sees status running on A
within 1s V sees parts 1..2 of A

database of A is slow by 300ms
user on C interrupts
user on C sends "two"
within 100ms V sees queue of 1
within 10ms chat is interrupting on A
within 2s V sees answer of 2 parts interrupted
within 100ms V sees message "two"
within 2s V sees status running on A
database of A recovers
model on A says 1 part
within 1s V sees part 1 of A
