# R09: the worker pauses for longer than its lease, and another one takes the chat over. When the first one
# resumes, its model has finished. It does not hold the chat any more: it commits, promotes and sends nothing.
guards S5
replicas A B C
lease 3s
heartbeat 1s
poll 1s

only A works
user on B sends "one"
model on A says 2 parts
viewer V on C watches chat
within 1s V sees status running on A
within 1s V sees parts 1..2 of A
user on B sends "two"
within 500ms V sees queue of 1

A pauses
model on A finishes
only B works
within 6s V sees preview_reset takeover
within 1s V sees status running on B
model on B says 1 part
within 1s V sees part 1 of B
A resumes
for 3s V sees nothing
within 10ms chat is running on B
model on B finishes
within 500ms V sees answer of 1 part
within 100ms V sees message "two"
