# R20: a commit takes long. It is announced only after it is done, so that whoever reads upon the notice finds
# the change; there is no second notice for a reader that came too early.
guards L1
replicas A C
not with real servers "a real model that says nothing has failed"
poll 60s

only A works
user on A sends "one"
model on A finishes
viewer V on C watches chat
within 1s V sees status waiting
nobody works
database of A is slow by 500ms
user on A sends "two"
within 100ms V sees message "two"
within 50ms V sees status running
user on A sends "three"
within 100ms V sees queue of 1
