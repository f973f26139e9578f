# A heartbeat renews a lease at once, and its answer comes late. The lease counts from when the worker asked, not from
# when it was told: by the time it hears of the renewal, most of it is over.
guards S5
replicas A C
not with real servers "when a replica hears of its lease is not seen from outside"
lease 3s
heartbeat 1s
poll 1500ms

only A works
user sends "/model parts=300 every=50ms"
viewer V on A watches chat
within 1s V sees parts 1..3 of A

next heartbeat of A is answered after 1500ms
wait 1100ms
database of A is cut off
within 100ms V sees part 20 of A

# The answer arrives, and then the lease runs out, in the database and at A.
wait 3s
for 1500ms V sees no part of A

database of A recovers
within 4s V sees preview_reset
within 1s V sees parts 1..2 of A
