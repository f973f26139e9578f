# A worker dies, and there is no other fault. The other replicas know when its lease expires, and sync at that
# moment, even though their next periodic sync would be seconds later: viewers see the takeover within one
# second.
guards L5
replicas A B C
not with real servers "its leases are too long to wait for"
lease 20s
poll 10s

only A works
user on B sends "one"
model on A says 3 parts
viewer V on C watches chat
within 1s V sees parts 1..3 of A

B works
A crashes
within 22s V sees preview_reset takeover
within 1s V sees status running on B
