-- With whom a chat is shared, and, by whom it is shared with, the chats. A release that knows no shares leaves both as
-- they are, and lets nobody see a chat but its owner.
ALTER TABLE chats ADD COLUMN shares TEXT;

CREATE TABLE shares (
    recipient TEXT NOT NULL,
    chat_id TEXT NOT NULL REFERENCES chats (id) ON DELETE CASCADE,
    PRIMARY KEY (recipient, chat_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX shares_by_chat ON shares (chat_id);
