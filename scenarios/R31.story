# R31: a chat is interrupted that no replica owns: nobody has taken it up, or its worker has died. No owner is
# there to end it, and none is waited for.
guards L2
replicas A C
lease 5s

nobody works
user on C sends "one"
viewer V on C watches chat
within 1s V sees status running
user on C interrupts
within 100ms V sees status waiting

# An interrupting send leaves something to do: whoever comes first ends the interruption, and goes on.
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
