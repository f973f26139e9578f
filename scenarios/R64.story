# R64: an answer is given again: what was said is gone for everybody who watches, here and elsewhere, and so is what is being
# said when it is asked for once more. The turn ends once, with the answer that is there in the end.
guards S1 S12 S3
replicas A B

only A works
user on A sends "one"
viewer V on B watches chat
model on A says 2 parts
model on A finishes
within 1s V sees answer of 2 parts
within 100ms V sees status waiting
user on B regenerates
within 500ms V sees history_reset
within 100ms V sees message "one"
within 500ms V sees status running on A
model on A says 3 parts
within 500ms V sees parts 1..3 of A
user on B sends "two"
within 500ms V sees queue of 1
user on B regenerates interrupting
within 500ms V sees preview_reset edit
within 1s V sees status running on A
model on A says 1 part
model on A finishes
within 1s V sees answer of 1 part
within 100ms V sees message "two"
