# R61: a worker dies while a tool of the server carries out what its model called. Nobody knows what became of the call, so the
# worker that takes over does not begin it again: that nobody knows is its result, and the model goes on from there.
guards S11
replicas A B
lease 3s
heartbeat 1s
poll 1s

only A works
user on B sends "/model parts=6 every=1ms kinds=1 tools=1 takes=3000ms"
viewer V on B watches chat
within 1s V sees answer of 6 parts
wait 500ms
B works
A crashes
within 20s chat is waiting
within 1s V sees status waiting
