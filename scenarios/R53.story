# R53: a request without a key is carried out, and the replica loses the answer of its database. It asks again, and what
# was done is not done twice.
guards S6
replicas A C
not in the pure world "requests of a story are of one user there, and each has a key of its own"
not with real servers "there is one user, and each request has a key of its own"

only A works
user on A sends "one"
model on A says 2 parts
next send of C loses its answer
user on C sends "two" without a key
viewer V on C watches chat
within 1s V sees queue of 1
wait 1s
model on A finishes
