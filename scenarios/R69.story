# R69: the replica of a viewer misses the notices of two changes, and commits the next one itself. What this one added to
# the history stands behind a message that is not known there, so the chat is read first. Once nothing is missing, the
# replica tells what it commits without a read, however slow its database is.
guards S1
replicas A C
poll 60s

nobody works
user on C sends "one"
viewer V on A watches chat
within 1s V sees status running
user on C interrupts
within 1s V sees status waiting

notices to A are lost
user on C sends "two"
user on C interrupts
notices to A are delivered
user on A sends "three"
within 500ms V sees message "two"
within 50ms V sees message "three"
within 50ms V sees status running

user on A interrupts
within 500ms V sees status waiting
database of A is slow by 500ms
user on A sends "four"
within 250ms V sees message "four"
within 50ms V sees status running
