# R67: a share is taken while its reader watches at another replica, which hears of nothing. Until it reads the row it
# may tell what it knows; from then on it tells nothing, and above all not what was committed since.
guards S10
replicas A C
poll 5s
not in the pure world "there is one user"
not with real servers "there is one user"

only A works
user on A sends "one"
user2 on C sends "mine" and is refused
user on A shares with user2 to read
viewer V on C watches chat
viewer G on C watches chat as user2
model on A says 2 parts
within 1s V sees parts 1..2
within 1s G sees parts 1..2
user2 on C sends "mine" and is refused
user2 on A interrupts and is refused

notices to C are lost
user on A unshares from user2
model on A says 1 part
model on A finishes
user on A sends "two"
model on A says 2 parts
within 6s G sees end
within 6s V sees message "two"
for 6s G sees nothing
notices to C are delivered

user on C shares with user2 to write
within 2s G sees message "two"
user2 on C sends "three"
within 2s V sees queue of 1
model on A finishes
within 2s V sees message "three"
within 2s G sees message "three"
user2 on A deletes and is refused
model on A says 1 part
model on A finishes
within 2s G sees answer of 1 part
