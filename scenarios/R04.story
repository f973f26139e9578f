# R04: the follower cannot subscribe to notifications. It learns of changes by polling, and when the bus
# accepts subscriptions again, it gets one.
guards L1
replicas A C

nobody works
user sends "one"
bus of C refuses
viewer V on C watches chat
within 2s V sees message "one"
within 1s V sees synced

user sends "two"
within 6s V sees queue of 1
bus of C recovers
wait 3s
user sends "three"
within 200ms V sees queue of 2
