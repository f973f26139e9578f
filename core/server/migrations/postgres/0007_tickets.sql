-- What opens one stream, once, at any replica. Only a digest of a ticket is here.
CREATE TABLE tickets (
    digest bytea NOT NULL PRIMARY KEY,
    owner text COLLATE "C" NOT NULL,
    body text NOT NULL,
    expires_at bigint NOT NULL
);

CREATE INDEX tickets_by_owner ON tickets (owner, expires_at);
CREATE INDEX tickets_by_end ON tickets (expires_at);
