# R60: a model's calls wait for the client, on whichever replica that answers. With the last result the turn goes on, and only then
# has the message its turn that was sent meanwhile.
guards S11 S12
replicas A B

only A works
user on B sends "/model parts=6 every=1ms kinds=1 calls=1"
viewer V on B watches chat
within 2s V sees status requires_action
user on B sends "/model parts=3 every=1ms two"
within 500ms V sees queue of 1
user on B answers the calls
within 2s V sees message "/model parts=3 every=1ms two"
within 2s V sees status waiting
