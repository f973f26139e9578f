-- Names that clients give: one chat of that name each owner, one message of that name each chat, also when it is
-- gone. And what a chat is set up with.
ALTER TABLE chats
    ADD COLUMN external_id text COLLATE "C",
    ADD COLUMN instructions text,
    ADD COLUMN tools text;

CREATE UNIQUE INDEX chats_by_external_id ON chats (owner, external_id) WHERE external_id IS NOT NULL;

ALTER TABLE messages ADD COLUMN client_id text COLLATE "C";

CREATE INDEX messages_by_client_id ON messages (chat_id, client_id) WHERE client_id IS NOT NULL;

-- What was answered to whoever sent a message under a name first.
CREATE TABLE sends (
    chat_id uuid NOT NULL REFERENCES chats (id) ON DELETE CASCADE,
    client_id text COLLATE "C" NOT NULL,
    answer text NOT NULL,
    PRIMARY KEY (chat_id, client_id)
);
