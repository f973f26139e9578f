# R55: a relay breaks in the middle of a block, and the next one goes on there. What the missing parts begin is told with
# them: without it, reasoning and calls would become text.
guards S2
replicas A C
not with real servers "Chat Completions has no blocks of data"

only A works
user sends "/model parts=21 every=50ms kinds=1"
viewer V on C watches chat
within 1s V sees status running on A
within 2s V sees parts 1..3 of A
link from A to C clogs
wait 300ms
link between A and C breaks
link from A to C flows
within 5s V sees answer of 21 parts
