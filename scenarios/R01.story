# R01: a dial to the old worker hangs while the chat moves to another worker, and the dial to the new one is
# slow. The old dial is answered first. It is not the current dial any more, so nothing that it delivers is
# shown, and it is closed.
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
only B works
next dial from C to B takes 700ms
user on B sends "two"
within 500ms V sees message "two"
within 500ms V sees status running on B

from now on V sees no part of A
dials from C to A complete
model on B says 3 parts
within 1s V sees parts 1..3 of B
C has no connection to A
C dialed B once
