-- Outside sessions. A row outlives its session for a while, so that a token
-- that ended is told from one that never was.
-- +goose Up
CREATE TABLE sessions (
    id               TEXT    NOT NULL PRIMARY KEY, -- public; says nothing of the token
    token_hash       BLOB    NOT NULL UNIQUE,      -- SHA-256 of the token
    user_id          TEXT    NOT NULL,
    created_at       INTEGER NOT NULL, -- login; unix microseconds, as all that end in _at
    authenticated_at INTEGER NOT NULL, -- when a credential was last proved
    last_used_at     INTEGER NOT NULL, -- may lag behind, see package session
    expires_at       INTEGER NOT NULL, -- end, however much it is used
    idle             INTEGER NOT NULL, -- microseconds without use after which it ends
    remembered       INTEGER NOT NULL, -- 1: asked to be remembered; 0
    revoked_at       INTEGER NOT NULL DEFAULT 0, -- 0: not revoked
    level            INTEGER NOT NULL,
    method           TEXT    NOT NULL,
    client           TEXT    NOT NULL, -- address at login; empty when unknown
    agent            TEXT    NOT NULL  -- user agent at login, shortened
) STRICT;

CREATE INDEX sessions_user_id ON sessions (user_id);
CREATE INDEX sessions_expires_at ON sessions (expires_at);
CREATE INDEX sessions_revoked_at ON sessions (revoked_at) WHERE revoked_at > 0;
