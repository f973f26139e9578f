-- What answers one user's message is a turn. A chat has the one that runs, or the last one; those that ended before are kept
-- beside it. Null, and 0: a release wrote the row that knew no turns.
ALTER TABLE chats
    ADD COLUMN turn text,
    ADD COLUMN last_told bigint NOT NULL DEFAULT 0;

ALTER TABLE messages ADD COLUMN turn bigint;

CREATE TABLE turns (
    chat_id uuid NOT NULL REFERENCES chats (id) ON DELETE CASCADE,
    id bigint NOT NULL,
    message bigint NOT NULL,
    turn text NOT NULL,
    PRIMARY KEY (chat_id, id)
);
