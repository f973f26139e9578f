# R49: what C reads for one chat takes long, as when its history is large or its row is locked. Whoever watches another
# chat there is told of it all the same: nothing that C does for one chat waits for what it does for another.
guards B3
replicas A C
not in the pure world "what befalls the database befalls all chats of a replica there"
not with real servers "a connection is of all chats of a replica"

only A works
user on A sends "/model parts=3 every=10ms" to chat2
within 1s chat2 is waiting
viewer W on C watches chat2
within 1s W sees synced
user on A sends "/model parts=3 every=10ms"
within 1s chat is waiting
viewer V on C watches chat
within 1s V sees synced
database of C for chat is slow by 4s
user on A sends "/model parts=4 every=10ms"
wait 100ms
user on A sends "/model parts=5 every=10ms" to chat2
within 500ms W sees status waiting
database of C for chat recovers
within 6s V sees status waiting
