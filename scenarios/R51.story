# R51: a key belongs to its caller. Who comes with a key that somebody else used gets no answer that is not theirs,
# though they say the very same; and their own request under it is a request of its own.
guards S10
replicas A C
not in the pure world "requests of a story are of one user there, and each has a key of its own"
not with real servers "there is one user, and each request has a key of its own"

only A works
user on A sends "one"
model on A says 2 parts
user on A sends "two" under key "k"
user2 on C sends "two" under key "k" and is refused
user2 on A sends "two" under key "k" and is refused
user on C sends "two" under key "k"
user2 on C sends "three" to chat2
user2 on C sends "two" to chat2 under key "k"
model on A finishes
model on A finishes in chat2
