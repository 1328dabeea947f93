-- Accounts and API keys. Neither a password nor a key can be had from here:
-- the first is kept as argon2id, the second as SHA-256 of 256 random bits.
-- +goose Up
CREATE TABLE users (
    id            TEXT    NOT NULL PRIMARY KEY, -- UUID v4; the `sub` of the principal
    email         TEXT    NOT NULL,             -- as it was written
    email_key     TEXT    NOT NULL UNIQUE,      -- in lower case: by this it is looked up
    password      TEXT    NOT NULL,             -- argon2id, PHC string
    password_form TEXT    NOT NULL,             -- Unicode normalisation before hashing
    password_at   INTEGER NOT NULL,             -- unix microseconds: when it was last chosen
    roles         TEXT    NOT NULL,             -- sorted, separated by spaces
    verified_at   INTEGER NOT NULL DEFAULT 0,   -- 0: nobody has shown that the address is theirs
    disabled_at   INTEGER NOT NULL DEFAULT 0,   -- 0: not disabled
    version       INTEGER NOT NULL DEFAULT 1,   -- grows with every change of rights or password
    created_at    INTEGER NOT NULL
) STRICT;

CREATE TABLE api_keys (
    id         TEXT    NOT NULL PRIMARY KEY, -- public id; the `sub` is key_ and this
    name       TEXT    NOT NULL,
    roles      TEXT    NOT NULL,             -- sorted, separated by spaces
    scopes     TEXT    NOT NULL,             -- likewise
    version    INTEGER NOT NULL DEFAULT 1,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,             -- 0: never
    ended_at   INTEGER NOT NULL DEFAULT 0,   -- 0: live; else revoked, or replaced after it expired
    used_at    INTEGER NOT NULL DEFAULT 0    -- at most a minute old; 0: never used
) STRICT;

CREATE UNIQUE INDEX api_keys_live_name ON api_keys (name) WHERE ended_at = 0;

-- The secrets of a key: one, and during a rotation the one before it.
CREATE TABLE api_key_secrets (
    hash       BLOB    NOT NULL PRIMARY KEY, -- SHA-256 of the whole key
    key_id     TEXT    NOT NULL REFERENCES api_keys (id),
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,             -- 0: with the key
    ended_at   INTEGER NOT NULL DEFAULT 0    -- 0: live; else ended by a rotation or a revocation
) STRICT;

CREATE INDEX api_key_secrets_key_id ON api_key_secrets (key_id);
