-- Names that clients give: one chat of that name each owner, one message of that name each chat, also when it is
-- gone. And what a chat is set up with.
ALTER TABLE chats ADD COLUMN external_id TEXT;
ALTER TABLE chats ADD COLUMN instructions TEXT;
ALTER TABLE chats ADD COLUMN tools TEXT;

CREATE UNIQUE INDEX chats_by_external_id ON chats (owner, external_id) WHERE external_id IS NOT NULL;

ALTER TABLE messages ADD COLUMN client_id TEXT;

CREATE INDEX messages_by_client_id ON messages (chat_id, client_id) WHERE client_id IS NOT NULL;

-- What was answered to whoever sent a message under a name first.
CREATE TABLE sends (
    chat_id TEXT NOT NULL REFERENCES chats (id) ON DELETE CASCADE,
    client_id TEXT NOT NULL,
    answer TEXT NOT NULL,
    PRIMARY KEY (chat_id, client_id)
) STRICT, WITHOUT ROWID;
