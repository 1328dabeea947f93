-- What is sealed under the root key. The name of each value (table, name,
-- version; or table, ring, kid) is bound into its seal: moved to another row it
-- does not open.
-- +goose Up
CREATE TABLE sealed (
    name    TEXT    NOT NULL,
    version INTEGER NOT NULL CHECK (version > 0),
    sealed  BLOB    NOT NULL,
    PRIMARY KEY (name, version)
) STRICT;

-- Keys that sign. Only what opens under the root key is ever published: a row
-- planted here is an error, not a key.
CREATE TABLE signing_keys (
    id           TEXT    NOT NULL PRIMARY KEY, -- kid: the JWK thumbprint of the public part
    ring         TEXT    NOT NULL,
    state        TEXT    NOT NULL CHECK (state IN ('next', 'active', 'retiring', 'gone')),
    sealed       BLOB,                         -- PKCS #8; NULL when gone
    published_at INTEGER NOT NULL,             -- unix microseconds
    active_at    INTEGER NOT NULL DEFAULT 0,   -- 0: not yet
    retired_at   INTEGER NOT NULL DEFAULT 0,   -- 0: not yet
    gone_at      INTEGER NOT NULL DEFAULT 0,   -- 0: not yet
    CHECK ((state = 'gone') = (sealed IS NULL))
) STRICT;

-- However many processes share the database, a ring has one active key and one to come.
CREATE UNIQUE INDEX signing_keys_active ON signing_keys (ring) WHERE state = 'active';
CREATE UNIQUE INDEX signing_keys_next ON signing_keys (ring) WHERE state = 'next';
CREATE INDEX signing_keys_ring ON signing_keys (ring, state);
