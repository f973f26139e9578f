# T8: the chat moves to the follower itself. The relay closes, local parts are shown from the beginning of the
# new attempt, and nobody is dialed any more.
guards S3 S5
replicas A C
grace 100ms

only A works
user on C sends "one"
model on A says 2 parts
viewer V on C watches chat
within 1s V sees status running on A
within 1s V sees parts 1..2 of A

only C works
A drains
within 1s V sees preview_reset
within 500ms V sees status running on C
from now on V sees no part of A
model on A is gone
model on C says 3 parts
within 100ms V sees parts 1..3 of C
for 10s C dials nobody
model on C finishes
within 200ms V sees answer of 3 parts
