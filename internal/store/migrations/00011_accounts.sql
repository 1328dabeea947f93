-- What is under way between a person and the account service: the second step
-- of a login, a letter that waits for its link, a provider that was asked.
-- +goose Up
CREATE TABLE flows (
    hash       BLOB    NOT NULL PRIMARY KEY, -- SHA-256 of the id, which opens it
    kind       TEXT    NOT NULL,
    user_id    TEXT    NOT NULL,             -- empty: nobody yet
    browser    BLOB    NOT NULL,             -- SHA-256 of the cookie that it is bound to; empty: none
    data       BLOB    NOT NULL,             -- sealed
    tries      INTEGER NOT NULL,             -- wrong answers that are left
    created_at INTEGER NOT NULL,             -- unix microseconds, as all that end in _at
    expires_at INTEGER NOT NULL
) STRICT;

CREATE INDEX flows_expires_at ON flows (expires_at);
CREATE INDEX flows_user_id ON flows (user_id, kind);

ALTER TABLE users ADD COLUMN name TEXT NOT NULL DEFAULT '';          -- how the user wants to be called
ALTER TABLE users ADD COLUMN locale TEXT NOT NULL DEFAULT '';        -- language of pages and letters; empty: the browser's
ALTER TABLE users ADD COLUMN delete_at INTEGER NOT NULL DEFAULT 0;   -- when the account is to be deleted; 0: it is not

CREATE INDEX users_delete_at ON users (delete_at) WHERE delete_at > 0;

-- Accounts at other providers by which a user logs in.
CREATE TABLE connections (
    provider   TEXT    NOT NULL, -- name in the map
    issuer     TEXT    NOT NULL,
    subject    TEXT    NOT NULL, -- the provider's own name of the user; with the issuer it is the identity
    user_id    TEXT    NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    email      TEXT    NOT NULL, -- as the provider told it; for the owner to know it by
    created_at INTEGER NOT NULL,
    used_at    INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (issuer, subject)
) STRICT;

CREATE INDEX connections_user_id ON connections (user_id);
