# R05: a viewer moves to another replica with its cursor, in the middle of an answer. It gets everything that
# it lacks, and nothing that it has already.
guards S1 S2
replicas A B C

only A works
user sends "one"
model on A says 2 parts
model on A finishes
viewer V on C watches chat
within 1s V sees message "one"
within 1s V sees answer of 2 parts
within 1s V sees synced
user sends "two"
within 1s V sees message "two"
model on A says 3 parts
within 1s V sees parts 1..3 of A

V moves to B
within 2s V sees synced
model on A says 2 parts
within 500ms V sees parts 4..5 of A
model on A finishes
within 500ms V sees answer of 5 parts
