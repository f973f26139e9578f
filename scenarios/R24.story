# R24: a viewer does not read while the model generates hundreds of parts, and another one comes when all of
# them are there. Neither misses one: there is no queue per viewer that could overflow.
guards S2
replicas A C
not with real servers "nothing says when a socket is full"

only A works
user sends "one"
viewer V on A watches chat
within 1s V sees status running on A
model on A says 3 parts
within 100ms V sees parts 1..3 of A

V stops reading
model on A says 100 parts
wait 100ms
model on A says 300 parts
viewer W on C watches chat
within 1s W sees status running on A
within 1s W sees parts 1..403 of A
V reads again
within 1s V sees parts 4..403 of A
model on A finishes
within 500ms V sees answer of 403 parts
within 500ms W sees answer of 403 parts
