# R10: a dial fails, and the viewer leaves before the next one is due. The retry timer is cancelled with the
# relay: nobody is dialed any more.
guards B2 S3
replicas A C

only A works
next dial from C to A fails
user sends "one"
model on A says 2 parts
viewer V on C watches chat
within 1s V sees status running on A
C dialed A once

V leaves
for 5s C dials nobody
within 20s nothing is left on C
