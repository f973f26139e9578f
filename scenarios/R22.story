# R22: an edit cuts messages off the history. Viewers on every replica are past that point: at the end of the
# old history, or in the middle of an answer. All of them get a `history_reset`, and none keeps what was cut
# off.
guards S1 S4
replicas A B C

only A works
user on A sends "one"
model on A says 2 parts
model on A finishes
user on A sends "two"
viewer V on C watches chat
viewer W on A watches chat
within 1s V sees message "two"
within 1s W sees message "two"
model on A says 3 parts
within 1s V sees parts 1..3 of A
within 1s W sees parts 1..3 of A

user on B edits message 1 to "uno"
within 500ms V sees preview_reset edit
within 50ms V sees history_reset
within 50ms V sees message "uno"
within 50ms W sees preview_reset edit
within 50ms W sees history_reset
within 50ms W sees message "uno"
model on A says 2 parts
within 500ms V sees parts 1..2 of A
within 100ms W sees parts 1..2 of A
model on A finishes
within 500ms V sees answer of 2 parts
within 50ms V sees status waiting
user on C edits message 4 to "un"
within 500ms V sees history_reset
within 50ms V sees message "un"
