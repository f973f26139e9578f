-- What opens one stream, once, at any replica. Only a digest of a ticket is here.
CREATE TABLE tickets (
    digest BLOB NOT NULL PRIMARY KEY,
    owner TEXT NOT NULL,
    body TEXT NOT NULL,
    expires_at INTEGER NOT NULL
);

CREATE INDEX tickets_by_owner ON tickets (owner, expires_at);
CREATE INDEX tickets_by_end ON tickets (expires_at);
