# R32: the very first dial of a hub hangs; in another hub, it fails at once. Subscribing waits for neither, and
# the first dial is retried like any other.
guards L1 B3
replicas A C

only A works
user sends "one"
model on A says 2 parts
next dial from C to A hangs
viewer V on C watches chat
within 100ms V sees status running on A
within 50ms V sees synced
C has 1 dial to A
within 3s V sees parts 1..2 of A
C dialed A twice

# Another chat has a hub of its own, and a first dial of its own.
link between A and C breaks
wait 20ms
next dial from C to A fails
user sends "two" to chat2
model on A says 2 parts in chat2
viewer W on C watches chat2
within 100ms W sees status running on A
within 50ms W sees synced
within 1s W sees parts 1..2 of A
