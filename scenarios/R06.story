# R06: the last viewer leaves while a dial is in flight. The dial is aborted, so that no connection is left
# when the network finally lets it through.
guards B2
replicas A C

only A works
dials from C to A hang
user sends "one"
model on A says 1 part
viewer V on C watches chat
within 1s V sees status running on A
within 200ms C has 1 dial to A

V leaves
within 100ms C has no dials to A
dials from C to A complete
wait 100ms
C has no connection to A
for 10s C dials nobody
within 20s nothing is left on C
