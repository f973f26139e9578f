# A run fails, and the next one fails for the same reason, while a viewer is away. Between the two, the viewer
# has seen nothing but one status. When it comes back, it gets the error again.
guards S9
replicas A B
not with real servers "the codes of errors are the generator's"

only A works
user on A sends "one"
model on A fails for good
viewer V on B watches chat
within 1s V sees error model_failed

nobody works
user on A sends "two"
within 1s V sees status running
V stops reading
only A works
model on A fails for good
within 1s chat is error
V moves to A
V reads again
within 1s V sees status error
within 1s V sees error model_failed
