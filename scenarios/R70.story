# R70: a user withdraws a message at another replica than the worker's, and the answer of the database is lost. Nobody knows what came of it: it
# is asked for again under its key, and the user is told that it is done.
guards S6
replicas A C
not with real servers "nothing tells there which call it is"

only A works
user on A sends "one"
model on A says 2 parts
user on A sends "two"
user on A sends "three"
next delete_queued of C loses its answer
user on C withdraws last
viewer V on C watches chat
within 1s V sees queue of 1
model on A finishes
