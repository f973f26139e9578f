# R74: the replica of a viewer misses the notices of a message and of its acquisition. The next one says what an interrupt made of the
# row, and of no message: the row before it is not known there, so the chat is read first. Once nothing is missing, the replica tells
# what such a notice says without a read, however slow its database is.
guards S8 S1
replicas A B C
poll 60s

only C works
user on B sends "one"
viewer V on A watches chat
model on C says 1 part
model on C finishes
within 1s V sees status waiting

notices to A are lost
user on B sends "two"
model on C says 2 parts
notices to A are delivered
database of C is slow by 1s
user on B interrupts
within 500ms V sees message "two"
within 50ms V sees status interrupting
within 2s V sees answer of 2 parts interrupted
within 50ms V sees status waiting
database of C recovers

user on B sends "three"
within 500ms V sees message "three"
within 500ms V sees status running on C
model on C says 2 parts
within 500ms V sees parts 1..2 of C
database of A is slow by 500ms
database of C is slow by 1s
user on B interrupts
within 250ms V sees status interrupting
