# R50: a chat belongs to its creator. Whatever somebody else asks of it, at whichever replica, for others it does not
# exist: nothing is done, and what runs goes on.
guards S10
replicas A C
not in the pure world "requests of a story are of one user there, and each has a key of its own"
not with real servers "there is one user, and each request has a key of its own"

only A works
user on A sends "one"
model on A says 2 parts
user2 on A interrupts and is refused
user2 on C interrupts and is refused
user2 on C sends "mine" and is refused
user2 on A sends "mine" interrupting and is refused
user2 on A edits message 1 to "mine" and is refused
user2 on C deletes and is refused

viewer V on C watches chat
within 1s V sees parts 1..2
model on A says 1 part
model on A finishes
within 1s V sees answer of 3 parts
