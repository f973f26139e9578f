-- What answers one user's message is a turn. A chat has the one that runs, or the last one; those that ended before are kept
-- beside it. Null, and 0: a release wrote the row that knew no turns.
ALTER TABLE chats ADD COLUMN turn TEXT;
ALTER TABLE chats ADD COLUMN last_told INTEGER NOT NULL DEFAULT 0;

ALTER TABLE messages ADD COLUMN turn INTEGER;

CREATE TABLE turns (
    chat_id TEXT NOT NULL REFERENCES chats (id) ON DELETE CASCADE,
    id INTEGER NOT NULL,
    message INTEGER NOT NULL,
    turn TEXT NOT NULL,
    PRIMARY KEY (chat_id, id)
) STRICT, WITHOUT ROWID;
