# R34: the database's answers to sends, and to the commit that ends a turn, are lost after the commit. The
# requests are retried, and take effect once.
guards S6
replicas A C
poll 300ms

only A works
user sends "one"
model on A says 2 parts
viewer V on C watches chat
within 1s V sees parts 1..2 of A

next send loses its answer
user on C sends "two"
within 500ms V sees queue of 1
for 1s V sees nothing

next finish_turn of A loses its answer
model on A finishes
within 1s V sees answer of 2 parts
within 100ms V sees message "two"
within 100ms V sees queue of 0
model on A says 1 part
model on A finishes
within 500ms V sees answer of 1 part
within 100ms V sees status waiting

next send loses its answer
user on C sends "three"
within 500ms V sees message "three"
within 500ms V sees status running on A
model on A says 1 part
model on A finishes
within 500ms V sees answer of 1 part
within 100ms V sees status waiting
for 1s V sees nothing
