# The worker's database takes two seconds for each answer, and the worker waits for one. Relaying parts to a
# follower needs no database operation: they are sent at once.
guards B3
replicas A C

only A works
user sends "one"
model on A says 2 parts
viewer V on C watches chat
within 1s V sees parts 1..2 of A

database of A is slow by 2s
user on C sends "two"
within 200ms V sees queue of 1
model on A says 1 part
within 3s V sees part 3 of A
database of A recovers
