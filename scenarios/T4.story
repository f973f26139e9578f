# T4: a dial to the old worker hangs, the user interrupts, another worker takes over, and then the old dial
# completes. Only the new worker's parts are seen, and nothing is left of the old dial.
guards S3 B2 S7
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
within 100ms model on A is gone
only B works
user on B sends "two"
within 500ms V sees message "two"
within 500ms V sees status running on B

from now on V sees no part of A
dials from C to A complete
model on B says 3 parts
within 500ms V sees parts 1..3 of B
within 100ms C has no dials to A
C has no connection to A
C dialed B once
for 5s C dials nobody
model on B finishes
within 500ms V sees answer of 3 parts
