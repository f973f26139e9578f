# R19: the follower's replica has read the chat and is not subscribed to notifications yet, when the chat
# changes: that notice goes to nobody. Once the subscription is in force, the chat is read again, so the change
# is told without waiting for the next look at everything.
guards L1
replicas A C
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
