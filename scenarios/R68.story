# R68: a share is taken, and the read that would tell the viewer's replica is answered late. Meanwhile it is given anew, and
# the viewer comes. The row of the time between says nothing against who was let in since.
guards S10
replicas A C
poll 5s
not in the pure world "there is one user"
not with real servers "there is one user"

only A works
user on A sends "one"
user on A shares with user2 to read
viewer V on C watches chat
model on A says 2 parts
within 1s V sees parts 1..2

next snapshot of C is answered after 2s
user on A unshares from user2
user on A shares with user2 to read
viewer G on C watches chat as user2
within 500ms G sees parts 1..2
for 3s G sees nothing
model on A says 1 part
within 1s G sees part 3
model on A finishes
within 1s G sees answer of 3 parts
