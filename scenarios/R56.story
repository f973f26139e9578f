# R56: the worker pauses until its lease has expired, and its viewer has not read all. Another one takes the chat over, and
# it is deleted before the first one resumes: that reads no newer row, only that there is none. What is left of its run is
# told to nobody all the same. No notice tells it first.
guards S5
replicas A B
not with real servers "nothing says when a socket is full"
lease 2s
heartbeat 500ms
poll 500ms

only A works
user on B sends "one"
viewer V on A watches chat
within 1s V sees status running on A
V stops reading
model on A says 20000 parts
wait 200ms
notices to A are lost
A pauses
only B works
user on B interrupts
within 3s chat is waiting
user on B deletes
A resumes
wait 500ms
V reads again
within 1s V sees end
