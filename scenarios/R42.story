# What viewers saw of an answer is what is saved, to the last character, including white space at the end.
guards S4
replicas A C

only A works
user sends "one"
model on A says 2 parts
viewer U on A watches chat
viewer V on C watches chat
within 1s U sees parts 1..2 of A
within 1s V sees parts 1..2 of A
model on A finishes
within 1s U sees answer of 2 parts
within 1s V sees answer of 2 parts
within 1s V sees status waiting
