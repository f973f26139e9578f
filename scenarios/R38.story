# A worker pauses for longer than its lease, nobody takes over, and the user interrupts in the meantime. It
# resumes, its lease is confirmed before it learns of the interrupt, and it tries to begin a new attempt,
# which is rejected. The text that it had generated is still kept.
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
