# R62: a turn is interrupted while a tool of the server carries out what its model called. The call is answered at once, by what
# says that it was cancelled, and the next message has its turn. What the tool says later is nobody's.
guards S11 L6
replicas A B

only A works
user on B sends "/model parts=6 every=1ms kinds=1 tools=1 takes=2000ms"
viewer V on B watches chat
within 1s V sees answer of 6 parts
user on B sends "/model parts=3 every=1ms two"
wait 200ms
user on B interrupts
within 500ms V sees message "/model parts=3 every=1ms two"
within 1s V sees status waiting
wait 3s
