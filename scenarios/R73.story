# R73: a worker was cut off for so long that its lease has run out, and another replica looks at the chat to acquire it. Before it writes,
# the worker is back and its lease is renewed. The chat is still of the version that was read, and it is not free.
guards S5
replicas A C
lease 15s
heartbeat 5s
poll 5s
not in the pure world "an acquisition is one step there"
not with real servers "what is read for an acquisition cannot be held back there"

only A works
user on A sends "one"
model on A says 2 parts
wait 1s
everybody works
next rows of C is answered after 8s
database of A is cut off
wait 18s
database of A recovers
database of A for chat is slow by 10s
wait 12s
database of A for chat recovers
wait 1s
within 1s chat is running on A
