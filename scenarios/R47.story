# Viewers come with what is not so any more: messages that an edit cut off, or that never were; what another device had
# seen before the edit. Each is told all anew, and whoever has what is still there goes on from it.
guards S1
replicas A C
not with real servers "servers are asked with their own limits"
tail 1

only A works
user sends "/model parts=3 every=10ms"
viewer V on C watches chat
within 1s V sees answer of 3 parts
user sends "/model parts=4 every=10ms"
within 1s V sees answer of 4 parts
V leaves
user edits last message to "/model parts=5 every=10ms"
within 1s chat is waiting

viewer F on C watches chat after a message that was cut
within 1s F sees history_reset
within 1s F sees answer of 5 parts
viewer G on A watches chat after message 100000
within 1s G sees history_reset
within 1s G sees answer of 3 parts
within 1s G sees answer of 5 parts
viewer H on A resumes V
within 1s H sees history_reset
within 1s H sees answer of 5 parts

viewer I on C watches chat after last message but 1
within 1s I sees answer of 5 parts
within 1s I sees synced
