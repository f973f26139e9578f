# R21: a worker pauses for longer than its lease. Another replica, whose database is slow, then finds the chat
# in its sync and tries to acquire it much later, when the worker is back and its lease is valid again. The
# result of a sync is only a hint: the chat stays where it is.
guards S5
replicas A B C
lease 3s
heartbeat 1s
poll 1s

only A works
user on C sends "one"
model on A says 2 parts
viewer V on C watches chat
within 1s V sees status running on A
within 1s V sees parts 1..2 of A

B works
database of B is slow by 3s
A pauses for 4500ms
wait 4600ms
within 1s V sees preview_reset retry
within 1s V sees status running on A
model on A says 3 parts
within 1s V sees parts 1..3 of A

for 6s V sees no preview_reset
within 10ms chat is running on A
model on A runs
model on A says 1 part
within 100ms V sees part 4 of A
