-- Second factors: passkeys, authenticator apps, recovery codes. None can be had
-- from here: secrets and credential records are sealed, bound to user and row;
-- recovery codes are an HMAC under a secret that is sealed as well.
-- +goose Up
CREATE TABLE factor_site (
    id         INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    rp_id      TEXT    NOT NULL, -- the host that passkeys are made for (WebAuthn: RP ID)
    created_at INTEGER NOT NULL  -- unix microseconds, as all that end in _at
) STRICT;

-- By what name authenticators know a user: random, so that it tells nothing.
CREATE TABLE factor_handles (
    user_id TEXT NOT NULL PRIMARY KEY,
    handle  BLOB NOT NULL UNIQUE -- 64 random bytes
) STRICT;

CREATE TABLE factors (
    id         TEXT    NOT NULL PRIMARY KEY, -- public
    user_id    TEXT    NOT NULL,
    kind       TEXT    NOT NULL CHECK (kind IN ('passkey', 'totp')),
    name       TEXT    NOT NULL,             -- the user's own
    sealed     BLOB    NOT NULL,             -- credential record, or secret of the app
    credential BLOB    UNIQUE,               -- SHA-256 of the credential's id; kind passkey only
    rp_id      TEXT    NOT NULL,             -- kind passkey; else empty
    sign_count INTEGER NOT NULL DEFAULT 0,   -- kind passkey: highest seen
    backed_up  INTEGER NOT NULL DEFAULT 0,   -- kind passkey: 1 when last seen to be synchronised; 0
    step       INTEGER NOT NULL DEFAULT 0,   -- kind totp: last 30 seconds whose code was accepted, since 1970
    created_at INTEGER NOT NULL,
    used_at    INTEGER NOT NULL DEFAULT 0,   -- 0: never
    CHECK ((kind = 'passkey') = (credential IS NOT NULL))
) STRICT;

CREATE INDEX factors_user_id ON factors (user_id, created_at);
CREATE INDEX factors_rp_id ON factors (rp_id) WHERE kind = 'passkey';

-- Challenges that were answered, and apps that were set up: each is accepted
-- once. Rows go when what they stand for would have expired.
CREATE TABLE factor_challenges (
    hash       BLOB    NOT NULL PRIMARY KEY, -- SHA-256
    expires_at INTEGER NOT NULL
) STRICT;

CREATE INDEX factor_challenges_expires_at ON factor_challenges (expires_at);

CREATE TABLE recovery_codes (
    hash       BLOB    NOT NULL PRIMARY KEY, -- HMAC-SHA-256 of user and code
    user_id    TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    used_at    INTEGER NOT NULL DEFAULT 0    -- 0: not used
) STRICT;

CREATE INDEX recovery_codes_user_id ON recovery_codes (user_id);
