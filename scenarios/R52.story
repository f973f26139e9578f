# R52: a key is used again for something else. That is refused, whether the first request was answered or not; the same
# request under it is answered as it was.
guards S6
replicas A C
not in the pure world "requests of a story are of one user there, and each has a key of its own"
not with real servers "there is one user, and each request has a key of its own"

only A works
user on A sends "one"
model on A says 2 parts
user on A sends "two" under key "k"
user on C sends "three" under key "k" and is refused
user on C sends "two" under key "k"
next send of C loses its answer
user on C sends "four" under key "l"
user on A sends "five" under key "l" and is refused
viewer V on C watches chat
within 1s V sees queue of 2
model on A finishes
