# A worker sleeps past its lease, nobody takes over, and meanwhile the user interrupts. It wakes, is confirmed
# before it hears of the interrupt, and wants to begin anew; that is refused. What it had said is still kept.
guards S7 S4
replicas A B
lease 5s

only A works
user on A sends "one"
model on A says 3 parts
viewer V on B watches chat
within 1s V sees parts 1..3 of A
from now on V sees no preview_reset

notices to A are lost
A pauses for 7s
user on B interrupts
within 20s V sees answer of 3 parts interrupted
