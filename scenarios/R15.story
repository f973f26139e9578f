# R15: the worker hands its chat over while the follower gets no notices. All that the follower sees is the
# end of the relay. It reads the chat to find the new worker; that read fails, and it reads again.
guards L1 S3
replicas A B C
not with real servers "how long reads fail is a race in real time"
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
