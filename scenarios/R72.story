# R72: the worker's end of an answer is on its way to the database while a user's message is committed at another replica. It was
# made of a row that is not there any more, so it is not written as it is: the message is in the queue, and has its turn.
guards S6
replicas A C

only A works
user on A sends "one"
viewer V on C watches chat
model on A says 2 parts
within 1s V sees parts 1..2 of A

notices to A are lost
user on C sends "two"
within 1s V sees queue of 1
model on A finishes
within 2s V sees answer of 2 parts
within 2s V sees message "two"
model on A says 1 part
model on A finishes
within 2s V sees answer of 1 part
