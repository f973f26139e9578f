# A viewer was told of a retry, and comes back when the retry is over, from a future: the database was restored from a
# backup. It is told everything anew, and also what it would not be told otherwise: that there is no retry any more.
guards S9 L1
replicas A C
not with real servers "a stream of a provider breaks off without saying for how long"

only A works
user sends "/model parts=5 every=20ms fail=3 after=2s"
viewer V on C watches chat
within 2s V sees retry
V leaves
within 6s chat is waiting

viewer W on C resumes V from a future
within 1s W sees history_reset
within 1s W sees answer of 5 parts
within 1s W sees retry over
within 1s W sees synced
