-- Join tokens: what a service shows once to get its identity. A secret cannot
-- be had from here: it is kept as SHA-256 of 256 random bits. Rows go when they
-- have expired.
-- +goose Up
CREATE TABLE join_tokens (
    id          BLOB    NOT NULL PRIMARY KEY, -- public; 16 random bytes
    secret_hash BLOB    NOT NULL,             -- SHA-256
    service     TEXT    NOT NULL,
    created_at  INTEGER NOT NULL,             -- unix microseconds, as all that end in _at
    expires_at  INTEGER NOT NULL,
    spent_at    INTEGER NOT NULL DEFAULT 0,   -- 0: not redeemed
    tries       INTEGER NOT NULL DEFAULT 0    -- redemptions begun, the one that succeeded among them
) STRICT;

CREATE INDEX join_tokens_expires_at ON join_tokens (expires_at);
