# R35: a worker pauses until its lease has expired, and another one takes over. When the first one resumes,
# its model has finished. Its lease has expired by its own clock: until it knows who holds the chat, it writes
# nothing and sends nothing, not even to its own viewers. No notice tells it first.
guards S5
replicas A B
lease 2s
heartbeat 500ms
poll 500ms

only A works
user on B sends "one"
model on A says 2 parts
viewer V on A watches chat
viewer W on B watches chat
within 1s V sees parts 1..2 of A
within 1s W sees parts 1..2 of A

notices to A are lost
only B works
A pauses
from now on V sees no part of A
from now on W sees no part of A
model on A says 1 part
model on A finishes
within 2500ms chat is running on B
within 500ms W sees preview_reset takeover
within 100ms W sees status running on B
model on B says 2 parts
within 100ms W sees parts 1..2 of B

A resumes
within 500ms V sees preview_reset takeover
within 100ms V sees status running on B
within 1s V sees parts 1..2 of B
notices to A are delivered
model on A is gone
model on B finishes
within 500ms V sees answer of 2 parts
within 500ms W sees answer of 2 parts
