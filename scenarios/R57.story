# R57: a turn is interrupted, and what waits behind it has its own. The interrupted one ends when its partial answer is
# committed, and once: not when the interrupt is accepted, and then again.
guards S12 S7
replicas A B

only A works
user on B sends "one"
viewer V on B watches chat
model on A says 2 parts
within 1s V sees parts 1..2 of A
user on B sends "two"
within 500ms V sees queue of 1
user on B interrupts
within 1s V sees answer of 2 parts interrupted
within 100ms V sees message "two"
within 1s V sees status running on A
model on A says 1 part
model on A finishes
within 1s V sees answer of 1 part
within 100ms V sees status waiting
