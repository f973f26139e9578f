# R28: a replica has another secret than its peers, and they deny it. That is final: the replica logs one
# error and does not dial again. Its viewers are served from the database alone.
guards S10 L4
replicas A C
not with real servers "what replicas log is for other tests"
secret of C is another
expects an error "a peer denies our credentials"

only A works
user sends "one"
model on A says 2 parts
viewer V on C watches chat
within 1s V sees status running on A
within 500ms C dialed A once
for 20s C dials nobody
C has no dials to A
C has no connection to A

model on A finishes
within 500ms V sees answer of 2 parts
within 100ms V sees status waiting
C dialed A once
