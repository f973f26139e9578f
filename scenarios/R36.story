# R36: a model ignores cancellation. The answer was sealed when the interrupt was handled, and its commit is
# in flight. What the model generates afterwards is in no stream and in no message.
guards S4 S7
replicas A C
not in the pure world "a model that is cancelled is gone there"
not with real servers "a request that is cancelled is gone"

only A works
user on C sends "one"
model on A says 3 parts
model on A ignores cancellation
viewer U on A watches chat
viewer V on C watches chat
within 1s U sees parts 1..3 of A
within 1s V sees parts 1..3 of A

database of A is slow by 300ms
user on C interrupts
within 50ms V sees status interrupting
within 500ms U sees status interrupting
model on A says 2 parts
for 200ms V sees no part
within 500ms U sees answer of 3 parts interrupted
within 500ms V sees answer of 3 parts interrupted
within 100ms V sees status waiting

database of A recovers
# A read that began while it was slow is over by then.
wait 400ms
model on A says 1 part
user on C sends "two"
within 500ms V sees status running on A
wait 100ms
model on A says 2 parts
within 500ms V sees parts 1..2 of A
model on A finishes
within 500ms V sees answer of 2 parts
