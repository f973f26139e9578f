# R49: what C reads for one chat takes long, as when its history is large or its row is locked. Whoever watches another
# chat there is told of it all the same: nothing that C does for one chat waits for what it does for another.
guards B3
replicas A C
not in the pure world "what befalls the database befalls all chats of a replica there"
not with real servers "models do not answer by themselves"

only A works
user on A sends "/model parts=3 every=10ms" to chat2
within 1s chat2 is waiting
viewer W on C watches chat2
within 1s W sees synced
user on A sends "/model parts=3 every=10ms"
within 1s chat is waiting
database of C for chat is slow by 4s
viewer V on C watches chat
wait 100ms
user on A sends "/model parts=3 every=10ms" to chat2
wait 2s
within 10ms W sees answer of 3 parts
database of C for chat recovers
within 5s V sees synced
