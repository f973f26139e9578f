# R15: the worker leaves its chat to another while the follower hears no notice. The end of the relay is all it
# has to go by: it looks into the database for who works now, and that look fails. It looks again.
guards L1 S3
replicas A B C
grace 100ms
poll 60s

only A works
user on B sends "one"
model on A says 2 parts
viewer V on C watches chat
within 1s V sees status running on A
within 1s V sees parts 1..2 of A

notices to C are lost
next snapshot of C is refused
next snapshot of C is refused
only B works
A drains
within 2s V sees preview_reset takeover
within 1s V sees status running on B
model on B says 3 parts
within 1s V sees parts 1..3 of B
C dialed B once
