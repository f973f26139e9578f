# R12: a model has finished, and a viewer watches on the worker. The end of the parts is one event, and is not
# repeated on every poll.
guards L4 S8
replicas A

user sends "one"
viewer V on A watches chat
within 1s V sees status running on A
model on A says 2 parts
within 100ms V sees parts 1..2 of A
model on A finishes
within 100ms V sees answer of 2 parts
within 100ms V sees status waiting
wait 2s
user sends "two"
within 500ms V sees message "two"
model on A says 1 part
within 100ms V sees part 1 of A
