# R48: C dials the worker of one chat, and the dial hangs. Whoever watches another chat there is told of it all the
# same: nothing that C does for one chat waits for what it does for another.
guards B3
replicas A C
not with real servers "a real model that says nothing has failed"

only A works
dials from C to A hang
user on A sends "/model parts=3 every=10ms" to chat2
within 1s chat2 is waiting
viewer W on C watches chat2
within 1s W sees synced
user on A sends "one"
viewer V on C watches chat
within 200ms C has 1 dial to A
user on A sends "/model parts=3 every=10ms" to chat2
wait 3s
dials from C to A complete
model on A finishes
