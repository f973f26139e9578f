# R65: what a tool of the server gave is known, and the database refuses to take it. Before it is asked again, the worker is to go
# away. It writes what it knows, and only then lets the chat go: the next one does not say that nobody knows what came of the call.
guards S11
replicas A B
not with real servers "a stream of a provider breaks off without saying for how long"
grace 100ms

only A works
user on B sends "/model parts=6 every=1ms kinds=1 tools=1 takes=1000ms"
viewer V on B watches chat
within 1s V sees answer of 6 parts
next commit_results of A is refused 3 times
wait 950ms
only B works
A drains
within 3s chat is running on B
within 2s chat is waiting
within 1s V sees status waiting
