# R59: a model's calls wait for the client, and a message that was sent meanwhile waits behind them. The turn is interrupted: its
# calls are cancelled, each with a result that says so, before the next turn begins.
guards S11 S12
replicas A B

only A works
user on B sends "/model parts=6 every=1ms kinds=1 calls=1"
viewer V on B watches chat
within 2s V sees status requires_action
user on B sends "/model parts=3 every=1ms two"
within 500ms V sees queue of 1
user on B interrupts
within 500ms V sees message "/model parts=3 every=1ms two"
within 2s V sees status waiting
