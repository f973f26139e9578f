# T2: a dial hangs, and the chat becomes idle in the meantime. Viewers see that at once: nothing waits for the
# dial.
guards B3 S8 L1
replicas A C

only A works
dials from C to A hang
user sends "one"
model on A says 2 parts
viewer V on C watches chat
within 1s V sees status running on A
within 200ms C has 1 dial to A

from now on V sees no part
model on A finishes
within 200ms V sees answer of 2 parts
within 50ms V sees status waiting
within 100ms C has no dials to A
for 10s C dials nobody
