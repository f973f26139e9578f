# R31: a chat is interrupted that no replica holds: nobody has acquired it yet, or its worker has died. The
# interruption is finished without a worker that would have to do it.
guards L2
replicas A C
lease 5s

nobody works
user on C sends "one"
viewer V on C watches chat
within 1s V sees status running
user on C interrupts
within 100ms V sees status waiting

# An interrupting send leaves a message to answer: the next worker finishes the interruption and continues.
user on C sends "two"
within 100ms V sees message "two"
user on C sends "three" interrupting
within 100ms V sees status interrupting
only A works
within 500ms V sees message "three"
within 500ms V sees status running on A
model on A says 2 parts
within 500ms V sees parts 1..2 of A

# The worker dies before it hears of the interrupt.
A crashes
user on C interrupts
within 100ms V sees status interrupting
C works
within 6s V sees preview_reset takeover
within 200ms V sees status waiting
