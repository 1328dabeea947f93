-- Keys of users, limits of address, reminders, and keys that sign requests. An
-- older program would let a key pass whose owner is disabled or whose address is
-- not allowed: it is not for this schema.
-- +goose Up
ALTER TABLE api_keys ADD COLUMN owner TEXT NOT NULL DEFAULT '';        -- user id; empty: a service account
ALTER TABLE api_keys ADD COLUMN addresses TEXT NOT NULL DEFAULT '';    -- prefixes, sorted, separated by spaces; empty: from anywhere
ALTER TABLE api_keys ADD COLUMN contact TEXT NOT NULL DEFAULT '';      -- who is told that the key ends, when nobody owns it
ALTER TABLE api_keys ADD COLUMN reminded INTEGER NOT NULL DEFAULT 0;   -- steps of the reminder that were taken or will not be

-- A name is one among the service accounts, and among the keys of each user.
DROP INDEX api_keys_live_name;
CREATE UNIQUE INDEX api_keys_live_name ON api_keys (owner, name) WHERE ended_at = 0;
CREATE INDEX api_keys_ended_owner ON api_keys (owner, ended_at) WHERE ended_at > 0 AND owner > '';
CREATE INDEX api_keys_expires_at ON api_keys (expires_at) WHERE ended_at = 0 AND expires_at > 0;

-- Keys with which the holder of an API key signs requests. Of Ed25519 only the
-- public half is ever here; the secret of an HMAC is sealed, bound to its row,
-- and wiped when the key ends.
CREATE TABLE api_key_signing (
    id         TEXT    NOT NULL PRIMARY KEY, -- the keyid of signatures; public
    key_id     TEXT    NOT NULL REFERENCES api_keys (id),
    algorithm  TEXT    NOT NULL CHECK (algorithm IN ('ed25519', 'hmac-sha256')),
    public     BLOB,                         -- 32 bytes; NULL: an HMAC
    sealed     BLOB,                         -- 32 bytes, sealed; NULL: no HMAC, or ended
    created_at INTEGER NOT NULL,             -- unix microseconds, as all that end in _at
    expires_at INTEGER NOT NULL,             -- 0: with the API key
    ended_at   INTEGER NOT NULL DEFAULT 0,   -- 0: live
    used_at    INTEGER NOT NULL DEFAULT 0,   -- at most a minute old; 0: never used
    CHECK ((algorithm = 'ed25519') = (public IS NOT NULL)),
    CHECK ((algorithm = 'hmac-sha256' AND ended_at = 0) = (sealed IS NOT NULL))
) STRICT;

CREATE INDEX api_key_signing_key_id ON api_key_signing (key_id);
