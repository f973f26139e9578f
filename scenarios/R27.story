# R27: two queued messages are promoted, the second one while the interruption of the first is still being
# committed; then the database refuses the commit that ends a turn. A message leaves the queue only by moving
# into the history.
guards S6
replicas A C

only A works
user sends "one"
model on A says 2 parts
viewer V on C watches chat
within 1s V sees parts 1..2 of A
user sends "two"
user sends "three"
user sends "four"
within 500ms V sees queue of 3

database of A is slow by 300ms
user on C promotes last
user on C promotes last
within 2s V sees answer of 2 parts interrupted
within 100ms V sees message "three"
within 100ms V sees queue of 2
database of A recovers

next finish_turn of A is refused
model on A says 1 part
model on A finishes
within 2s V sees answer of 1 part
within 100ms V sees message "four"
within 100ms V sees queue of 1

next finish_turn of A conflicts
model on A says 1 part
model on A finishes
within 2s V sees message "two"
within 100ms V sees queue of 0
