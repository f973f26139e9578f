# R58: a client sends a message under a name of its own, and without another key, at two replicas at once; and the answer of the
# one after it is lost, so it sends that again. Each name is one message and one turn.
guards S12 S6
replicas A B C
not with real servers "no request is sent twice at once"

only A works
user on A sends "one"
viewer V on C watches chat
within 1s V sees status running on A
user on B and C sends "two"
within 500ms V sees queue of 1
model on A finishes
within 1s V sees message "two"
within 1s V sees status running on A
user on B sends "three"
next send of B loses its answer
user on B sends "four"
within 500ms V sees queue of 2
model on A finishes
within 1s V sees message "three"
model on A finishes
within 1s V sees message "four"
model on A finishes
within 1s V sees status waiting
