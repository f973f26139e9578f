# R71: a user's message comes to a replica that has not heard of what the worker has committed since. The row that it knows is not the
# chat's any more, so the message is applied to the one that is, and accepted.
guards S6
replicas A C

only A works
user on A sends "one"
viewer V on C watches chat
model on A says 2 parts
within 1s V sees parts 1..2 of A

notices to C are lost
user on A sends "two"
user on C sends "three"
within 6s V sees queue of 2
notices to C are delivered
model on A finishes
