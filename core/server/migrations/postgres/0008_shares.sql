-- With whom a chat is shared, and, by whom it is shared with, the chats. A release that knows no shares leaves both as
-- they are, and lets nobody see a chat but its owner.
ALTER TABLE chats ADD COLUMN shares text;

CREATE TABLE shares (
    recipient text COLLATE "C" NOT NULL,
    chat_id uuid NOT NULL REFERENCES chats (id) ON DELETE CASCADE,
    PRIMARY KEY (recipient, chat_id)
);

CREATE INDEX shares_by_chat ON shares (chat_id);
