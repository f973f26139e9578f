# R26: a turn ends while the follower's read of the database is slow. `waiting`, or the status of the next
# turn, always comes after the answer: for the worker's own viewer, for the follower's, and for one that comes
# late.
guards S8
replicas A C

only A works
user on A sends "one"
model on A says 2 parts
viewer U on A watches chat
viewer V on C watches chat
within 1s U sees parts 1..2 of A
within 1s V sees parts 1..2 of A

user on A sends "two"
database of C is slow by 300ms
model on A finishes
within 1s U sees answer of 2 parts
within 100ms U sees message "two"
within 100ms U sees status running on A
within 1s V sees answer of 2 parts
within 100ms V sees message "two"
within 100ms V sees status running on A

model on A says 3 parts
within 1s V sees parts 1..3 of A
next finish_turn of A loses its answer
model on A finishes
within 1s U sees answer of 3 parts
within 100ms U sees status waiting
within 1s V sees answer of 3 parts
within 100ms V sees status waiting

viewer W on C watches chat
within 2s W sees message "two"
within 100ms W sees answer of 3 parts
within 100ms W sees status waiting
within 100ms W sees synced
