# R63: a tool of the server hangs. After its time the call has failed, the model is told so, and the turn goes on: no chat waits for
# a tool for ever.
guards L6 S11
replicas A B

only A works
user on B sends "/model parts=6 every=1ms kinds=1 tools=1 hangs=1"
viewer V on B watches chat
within 1s V sees answer of 6 parts
wait 6500ms
within 500ms chat is running on A
within 2s chat is waiting
within 1s V sees status waiting
