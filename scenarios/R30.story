# R30: a run fails for good while messages are queued, so that the chat is idle with a queue. A promotion
# makes it runnable, and a replica acquires it at once, without waiting for the next sync.
guards L3
replicas A C
poll 30s

only A works
user sends "one"
user sends "two"
user sends "three"
viewer V on C watches chat
within 1s V sees queue of 2
model on A says 1 part
model on A fails for good
within 500ms V sees answer of 1 part interrupted
within 100ms V sees status error

user on C promotes last
within 100ms V sees message "three"
within 200ms V sees status running on A
model on A fails for good
within 500ms V sees status error

user on A promotes last
within 100ms V sees message "two"
within 200ms V sees status running on A
model on A says 1 part
within 500ms V sees part 1 of A
