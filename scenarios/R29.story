# R29: the model fails, and the worker waits before it retries. A viewer that comes in the meantime sees the
# retry before `synced`; one that comes after it sees no retry at all.
guards S9
replicas A C

only A works
user sends "one"
model on A says 2 parts
viewer V on C watches chat
within 1s V sees parts 1..2 of A

model on A fails
within 200ms V sees preview_reset retry
within 100ms V sees retry
viewer W on A watches chat
viewer X on C watches chat
within 200ms W sees retry
within 50ms W sees synced
within 200ms X sees retry
within 50ms X sees synced

model on A says 2 parts
within 1s V sees retry over
within 1s W sees retry over
within 500ms W sees parts 1..2 of A
within 1s X sees retry over
within 500ms X sees parts 1..2 of A

viewer Y on C watches chat
from now on Y sees no retry
within 500ms Y sees parts 1..2 of A
model on A finishes
within 500ms Y sees answer of 2 parts
