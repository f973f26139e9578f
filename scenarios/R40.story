# Six short turns within the retention time of episodes: the oldest ones are evicted.
guards B1
replicas A B

only A works
user on A sends "/model parts=3 every=10ms 1"
viewer V on B watches chat
within 2s V sees answer of 3 parts
user on A sends "/model parts=3 every=10ms 2"
within 2s V sees answer of 3 parts
user on A sends "/model parts=3 every=10ms 3"
within 2s V sees answer of 3 parts
user on A sends "/model parts=3 every=10ms 4"
within 2s V sees answer of 3 parts
user on A sends "/model parts=3 every=10ms 5"
within 2s V sees answer of 3 parts
user on A sends "/model parts=3 every=10ms 6"
within 2s V sees answer of 3 parts
wait 1s
