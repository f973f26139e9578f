# R13: the follower's replica gets no notifications at all. The first snapshot and the relay's parts do not
# depend on them: the viewer sees both at once, and the answer too, because the relay reports the end of the
# episode.
guards S2 L1
replicas A C

only A works
bus of C refuses
user sends "one"
model on A says 2 parts
viewer V on C watches chat
within 1s V sees message "one"
within 50ms V sees status running on A
within 200ms V sees parts 1..2 of A
model on A says 1 part
within 100ms V sees part 3 of A
model on A finishes
within 100ms V sees answer of 3 parts
within 50ms V sees status waiting

user sends "two"
within 6s V sees message "two"
within 6s V sees status running on A
model on A says 2 parts
within 500ms V sees parts 1..2 of A
