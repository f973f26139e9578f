# A worker dies while it generates, and there is no other fault. Another replica takes over as soon as the
# lease has expired: within a second, viewers get the reset of the preview and see the new attempt.
guards L5
replicas A B C
lease 5s
heartbeat 1600ms
poll 2s

only A works
user on B sends "one"
model on A says 3 parts
viewer V on C watches chat
within 1s V sees parts 1..3 of A

B works
A crashes
within 7s V sees preview_reset takeover
within 1s V sees status running on B
model on B says 2 parts
within 1s V sees parts 1..2 of B
