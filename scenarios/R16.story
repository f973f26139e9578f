# R16: a dial fails and is retried, a relay breaks, a read is refused, a model is retried: delays of all
# kinds. All of them use the clock that is passed in, so two processes that run this story do the same at the
# same times.
guards D1 L1
replicas A C

only A works
next dial from C to A fails
user sends "one"
model on A says 2 parts
viewer V on C watches chat
within 1s V sees status running on A
within 1s V sees parts 1..2 of A
link between A and C breaks
next snapshot of C is refused
model on A says 1 part
within 1s V sees part 3 of A
model on A fails
within 1s V sees preview_reset retry
within 1s V sees retry
model on A says 2 parts
within 1s V sees parts 1..2 of A
model on A finishes
within 500ms V sees answer of 2 parts
