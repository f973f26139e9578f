# R25: the notice that the chat became runnable reaches its worker long after the run began. It is stale news
# of this very run, and must not stop it: the worker acts on the row, and continues.
guards S7
replicas A C

only A works
user on C sends "one"
model on A says 1 part
model on A finishes
viewer V on A watches chat
within 1s V sees status waiting
within 1s V sees synced

notices to A are late by 500ms
user on A sends "two"
within 200ms V sees status running on A
model on A says 2 parts
within 200ms V sees parts 1..2 of A

from now on V sees no preview_reset
wait 1s
model on A runs
model on A says 1 part
within 200ms V sees part 3 of A
model on A finishes
within 1s V sees answer of 3 parts
within 100ms V sees status waiting
