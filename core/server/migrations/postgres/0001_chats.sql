-- Times are milliseconds of Unix time by the database's clock. Ids of messages count within a chat.
CREATE TABLE chats (
    id uuid NOT NULL PRIMARY KEY,
    owner text COLLATE "C" NOT NULL,
    title text,
    model text,
    status text NOT NULL,
    worker text COLLATE "C",
    lease bigint NOT NULL,
    lease_expires_at bigint,
    begun bigint,
    snapshot_version bigint NOT NULL,
    history_version bigint NOT NULL,
    queue_version bigint NOT NULL,
    reset_version bigint NOT NULL,
    attempt bigint NOT NULL,
    error text,
    retry text,
    queue text NOT NULL,
    last_message bigint NOT NULL,
    last_id bigint NOT NULL,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL
) WITH (fillfactor = 70);

CREATE INDEX chats_by_owner ON chats (owner, id);
CREATE INDEX chats_runnable ON chats (id) WHERE status IN ('running', 'interrupting');

CREATE TABLE messages (
    chat_id uuid NOT NULL REFERENCES chats (id) ON DELETE CASCADE,
    id bigint NOT NULL,
    revision bigint NOT NULL,
    role text NOT NULL,
    content text NOT NULL,
    interrupted boolean NOT NULL,
    history_version bigint,
    attempt bigint,
    queued_as bigint,
    created_at bigint NOT NULL,
    PRIMARY KEY (chat_id, id)
);

CREATE TABLE receipts (
    caller text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    body bytea NOT NULL,
    answer text,
    created_at bigint NOT NULL,
    PRIMARY KEY (caller, key)
);

CREATE INDEX receipts_by_age ON receipts (created_at);

CREATE TABLE replicas (
    id text COLLATE "C" NOT NULL PRIMARY KEY,
    address text NOT NULL,
    seen_at bigint NOT NULL
);

CREATE TABLE secrets (
    name text COLLATE "C" NOT NULL PRIMARY KEY,
    value bytea NOT NULL
);
