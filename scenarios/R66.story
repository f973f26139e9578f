# R66: an answer is interrupted in the midst of a call's input. What came of the call is kept, for whoever watches. The models that
# are asked later are not given it: it has no result, and nobody knows whether it was meant so.
guards S11
replicas A B

only A works
user on B sends "/model parts=6 every=1ms kinds=1 stall=5"
viewer V on B watches chat
within 1s V sees part 5
user on B interrupts
within 500ms V sees answer of 5 parts interrupted
user on B sends "/model parts=3 every=1ms two"
within 1s V sees answer of 3 parts
within 100ms V sees status waiting
