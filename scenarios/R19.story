# R19: the follower's replica has read the chat but is not subscribed to notifications yet when the chat
# changes, so it misses that notice. Once the subscription is in force it reads the chat again, so viewers see
# the change without waiting for the next sync.
guards L1
replicas A C
not with real servers "a real model that says nothing has failed"
poll 60s

only A works
user sends "one"
model on A finishes
nobody works
bus of C refuses
viewer V on C watches chat
within 1s V sees status waiting
user sends "two"
bus of C recovers
within 3s V sees message "two"
within 50ms V sees status running
user sends "three"
within 100ms V sees queue of 1
