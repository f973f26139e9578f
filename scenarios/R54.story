# R54: parts are joined for a viewer that comes late, and for one that reads slowly. Those of two blocks never are: a client
# would show a call's input as text.
guards S2
replicas A C
not with real servers "Chat Completions has no blocks of data"

only A works
user sends "/model parts=14 every=20ms burst=7 kinds=1"
viewer V on C watches chat
within 2s V sees answer of 14 parts
within 1s chat is waiting
user sends "/model parts=20 every=20ms kinds=1"
wait 200ms
viewer W on C watches chat
within 2s W sees answer of 20 parts
