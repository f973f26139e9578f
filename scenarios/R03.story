# R03: the follower's subscription to notifications ends. This is a single event: the follower subscribes
# again, and does not spin.
guards L4 L1
replicas A C

only A works
user sends "one"
model on A says 2 parts
viewer V on C watches chat
within 1s V sees status running on A
within 1s V sees parts 1..2 of A

bus of C breaks
model on A says 1 part
within 200ms V sees part 3 of A
wait 1s
model on A finishes
within 200ms V sees answer of 3 parts
within 100ms V sees status waiting
