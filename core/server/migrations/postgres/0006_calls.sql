-- The calls of a chat's last message that have no result in the history.
ALTER TABLE chats ADD COLUMN calls text;
