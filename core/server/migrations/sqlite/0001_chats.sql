-- Times are milliseconds of Unix time by the database's clock. Ids of messages count within a chat.
CREATE TABLE chats (
    id TEXT NOT NULL PRIMARY KEY,
    owner TEXT NOT NULL,
    title TEXT,
    model TEXT,
    status TEXT NOT NULL,
    worker TEXT,
    lease INTEGER NOT NULL,
    lease_expires_at INTEGER,
    begun INTEGER,
    snapshot_version INTEGER NOT NULL,
    history_version INTEGER NOT NULL,
    queue_version INTEGER NOT NULL,
    reset_version INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    error TEXT,
    retry TEXT,
    queue TEXT NOT NULL,
    last_message INTEGER NOT NULL,
    last_id INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;

CREATE INDEX chats_by_owner ON chats (owner, id);
CREATE INDEX chats_runnable ON chats (id) WHERE status IN ('running', 'interrupting');

CREATE TABLE messages (
    chat_id TEXT NOT NULL REFERENCES chats (id) ON DELETE CASCADE,
    id INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    role TEXT NOT NULL,
    content TEXT NOT NULL,
    interrupted INTEGER NOT NULL,
    history_version INTEGER,
    attempt INTEGER,
    queued_as INTEGER,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (chat_id, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE receipts (
    caller TEXT NOT NULL,
    key TEXT NOT NULL,
    body BLOB NOT NULL,
    answer TEXT,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (caller, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX receipts_by_age ON receipts (created_at);

CREATE TABLE replicas (
    id TEXT NOT NULL PRIMARY KEY,
    address TEXT NOT NULL,
    seen_at INTEGER NOT NULL
) STRICT;

CREATE TABLE secrets (
    name TEXT NOT NULL PRIMARY KEY,
    value BLOB NOT NULL
) STRICT;
