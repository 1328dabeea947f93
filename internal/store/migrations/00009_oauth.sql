-- The OAuth 2.1 and OpenID Connect provider. Nothing that lets anybody in can be
-- had from here: codes, tokens and secrets are kept as SHA-256 of 256 random bits,
-- user codes, which are short, as HMAC under a sealed secret.
-- oldest: 8
-- +goose Up

-- Clients of the command line; those of the map are not here.
CREATE TABLE oauth_clients (
    id         TEXT    NOT NULL PRIMARY KEY,
    kind       TEXT    NOT NULL,           -- public, confidential
    record     TEXT    NOT NULL,           -- what the map would say of it, JSON
    keys       TEXT    NOT NULL DEFAULT '', -- JWK set of its public keys; empty: none
    secret     BLOB,                       -- SHA-256; NULL: none
    old_secret BLOB,                       -- the one before
    old_until  INTEGER NOT NULL DEFAULT 0, -- until when that is taken; unix microseconds, as all that end in _at
    created_at INTEGER NOT NULL
) STRICT;

-- Authorization requests that wait for their user.
CREATE TABLE oauth_requests (
    id          TEXT    NOT NULL PRIMARY KEY, -- names it in paths; opens nothing without the browser's cookie
    kind        TEXT    NOT NULL CHECK (kind IN ('code', 'device')),
    status      TEXT    NOT NULL,             -- pending, success, failure
    client_id   TEXT    NOT NULL,
    browser     BLOB    NOT NULL,             -- SHA-256 of the cookie it is bound to; empty: none yet
    par_hash    BLOB    UNIQUE,               -- SHA-256 of the pushed request's handle
    par_used_at INTEGER NOT NULL DEFAULT 0,
    device_hash BLOB    UNIQUE,               -- SHA-256 of the device code
    user_code   BLOB    UNIQUE,               -- HMAC of the user code
    version     INTEGER NOT NULL,
    created_at  INTEGER NOT NULL,
    expires_at  INTEGER NOT NULL,
    data        TEXT    NOT NULL              -- its parameters, JSON
) STRICT;

CREATE INDEX oauth_requests_expires_at ON oauth_requests (expires_at);

-- What a user let a client do, or a client may do by itself. A grant is the family
-- of its refresh tokens.
CREATE TABLE oauth_grants (
    id                TEXT    NOT NULL PRIMARY KEY,
    kind              TEXT    NOT NULL CHECK (kind IN ('user', 'client')),
    sub               TEXT    NOT NULL,
    client_id         TEXT    NOT NULL,
    session_id        TEXT    NOT NULL,           -- public id of the session it came from; empty: none
    sid               TEXT    NOT NULL,           -- what the client knows that session by
    offline           INTEGER NOT NULL,           -- 1: outlives its session (offline_access)
    scopes            TEXT    NOT NULL,           -- separated by spaces
    code_hash         BLOB    UNIQUE,
    code_expires_at   INTEGER NOT NULL DEFAULT 0,
    code_used_at      INTEGER NOT NULL DEFAULT 0,
    device_hash       BLOB    UNIQUE,
    device_expires_at INTEGER NOT NULL DEFAULT 0,
    device_used_at    INTEGER NOT NULL DEFAULT 0,
    refresh_wanted    INTEGER NOT NULL,           -- 1: a refresh token goes with its first access token
    jkt               TEXT    NOT NULL,           -- thumbprint of the key it is bound to (RFC 9449)
    x5t               TEXT    NOT NULL,           -- of the certificate (RFC 8705)
    level             INTEGER NOT NULL,
    authenticated_at  INTEGER NOT NULL,
    version           INTEGER NOT NULL,
    created_at        INTEGER NOT NULL,
    used_at           INTEGER NOT NULL,
    expires_at        INTEGER NOT NULL,           -- its end, however much it is used
    revoked_at        INTEGER NOT NULL DEFAULT 0,
    revoked_why       TEXT    NOT NULL DEFAULT '',
    parent_id         TEXT    NOT NULL DEFAULT '', -- the grant whose token it was exchanged for, and with which it ends
    data              TEXT    NOT NULL            -- what redemption compares, JSON
) STRICT;

CREATE INDEX oauth_grants_sub ON oauth_grants (sub, client_id);
CREATE INDEX oauth_grants_client_id ON oauth_grants (client_id);
CREATE INDEX oauth_grants_session_id ON oauth_grants (session_id) WHERE session_id > '';
CREATE INDEX oauth_grants_parent_id ON oauth_grants (parent_id) WHERE parent_id > '';
CREATE INDEX oauth_grants_expires_at ON oauth_grants (expires_at);

-- Refresh tokens, used ones too: that one comes again tells of a theft.
CREATE TABLE oauth_refresh (
    hash         BLOB    NOT NULL PRIMARY KEY,
    grant_id     TEXT    NOT NULL REFERENCES oauth_grants (id) ON DELETE CASCADE,
    created_at   INTEGER NOT NULL,
    expires_at   INTEGER NOT NULL,
    used_at      INTEGER NOT NULL DEFAULT 0,
    used_jkt     TEXT    NOT NULL DEFAULT '', -- with which key and certificate it was used
    used_x5t     TEXT    NOT NULL DEFAULT '',
    child_hash   BLOB,                        -- its successor
    child_sealed BLOB                         -- the same under a key that only the holder of this token can make
) STRICT;

CREATE INDEX oauth_refresh_grant_id ON oauth_refresh (grant_id);

-- Access tokens, opaque or JWT: what is not here is none.
CREATE TABLE oauth_tokens (
    hash       BLOB    NOT NULL PRIMARY KEY,
    grant_id   TEXT    NOT NULL REFERENCES oauth_grants (id) ON DELETE CASCADE,
    scopes     TEXT    NOT NULL,
    jkt        TEXT    NOT NULL,
    x5t        TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;

CREATE INDEX oauth_tokens_grant_id ON oauth_tokens (grant_id);
CREATE INDEX oauth_tokens_expires_at ON oauth_tokens (expires_at);

-- What users said yes to, so that they are not asked again.
CREATE TABLE oauth_consents (
    user_id   TEXT    NOT NULL,
    client_id TEXT    NOT NULL,
    scopes    TEXT    NOT NULL,
    given_at  INTEGER NOT NULL,
    PRIMARY KEY (user_id, client_id)
) STRICT;

-- Ids of client assertions that were taken (RFC 7523 section 3).
CREATE TABLE oauth_assertions (
    hash       BLOB    NOT NULL PRIMARY KEY,
    expires_at INTEGER NOT NULL
) STRICT;

CREATE INDEX oauth_assertions_expires_at ON oauth_assertions (expires_at);

-- Logout tokens that clients are still to be sent.
CREATE TABLE oauth_logouts (
    id         TEXT    NOT NULL PRIMARY KEY,
    client_id  TEXT    NOT NULL,
    sub        TEXT    NOT NULL,
    sid        TEXT    NOT NULL,
    tries      INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL,
    next_at    INTEGER NOT NULL
) STRICT;

CREATE INDEX oauth_logouts_next_at ON oauth_logouts (next_at);
