# R35: a worker stands still until its lease has run out, and another takes over. When it wakes, its model has
# gone on and finished. By its own clock its lease is over: it writes nothing, and tells nobody, not even its own
# viewers, before it knows whose the chat is.
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
model on A is gone
model on B finishes
within 500ms V sees answer of 2 parts
within 500ms W sees answer of 2 parts
