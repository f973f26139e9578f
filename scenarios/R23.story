# R23: a relay breaks twice, with parts in flight. The new relay delivers the missing parts, whatever the
# worker replays, and no viewer gets a part twice: neither those that were there before, nor one that came in
# between.
guards S2
replicas A C
not with real servers "the way between replicas can only break"

only A works
user sends "one"
model on A says 3 parts
viewer V on C watches chat
within 1s V sees status running on A
within 1s V sees parts 1..3 of A

from now on V sees no preview_reset
link from A to C clogs
model on A says 2 parts
wait 10ms
link between A and C breaks
link from A to C flows
viewer W on C watches chat
within 1s V sees parts 4..5 of A
within 1s W sees parts 1..5 of A

link between A and C breaks
model on A says 1 part
within 1s V sees part 6 of A
within 50ms W sees part 6 of A
for 2s V sees no part
for 2s W sees no part
C dialed A 3 times
model on A finishes
within 500ms V sees answer of 6 parts
within 50ms W sees answer of 6 parts
