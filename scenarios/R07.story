# R07: a relay is closed while its dial is in flight, and then the dial is answered. The late answer must not
# be used for the next worker: that one is dialed, and only its parts are seen.
guards S3 B2
replicas A B C

only A works
dials from C to A hang
user on B sends "one"
model on A says 3 parts
viewer V on C watches chat
within 1s V sees status running on A
within 200ms C has 1 dial to A

user on B interrupts
within 500ms V sees answer of 3 parts interrupted
within 100ms V sees status waiting
dials from C to A complete
wait 200ms

from now on V sees no part of A
only B works
user on B sends "two"
within 500ms V sees message "two"
within 500ms V sees status running on B
model on B says 3 parts
within 500ms V sees parts 1..3 of B
C has no connection to A
C dialed B once
