# A worker dies, and nothing else happens to anybody. The others know when its lease runs out, and look again in that
# moment, though they would not look for some seconds: viewers are told within one.
guards L5
replicas A B C
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
