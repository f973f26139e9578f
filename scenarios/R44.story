# R44: a provider asks to be left alone for a while. The database's answer to the retry is lost after the commit;
# then the worker dies, and another one takes over long before the time that viewers were told. Nobody tries
# again before it.
guards S9
replicas A B C
not with real servers "a stream of a provider breaks off without saying for how long"
lease 3s
heartbeat 1s
poll 1s

only A works
next record_retry of A loses its answer
user on C sends "/model parts=5 every=200ms fail=2 after=20000ms"
viewer V on C watches chat
within 1s V sees parts 1..2 of A
within 500ms V sees preview_reset retry
within 100ms V sees retry
for 4s V sees nothing
model on A is gone

B works
A crashes
within 5s V sees status running on B
for 8s V sees nothing
model on B is gone

within 10s V sees retry over
within 2s V sees parts 1..5 of B
within 500ms V sees answer of 5 parts
