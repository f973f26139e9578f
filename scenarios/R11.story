# R11: the follower repeatedly fails to subscribe to notifications, and nobody waits for the reports of that.
# Neither the viewer nor the teardown after it leaves is blocked.
guards B2 B3
replicas A C

only A works
bus of C refuses
user sends "one"
model on A says 2 parts
viewer V on C watches chat
within 2s V sees status running on A
within 1s V sees parts 1..2 of A
wait 5s
model on A says 1 part
within 200ms V sees part 3 of A
V leaves
within 20s nothing is left on C
