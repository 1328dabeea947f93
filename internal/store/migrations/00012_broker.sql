-- SAML assertions that logged somebody in: each does so once (SAML 2.0 profiles
-- section 4.1.4.5).
-- +goose Up
CREATE TABLE broker_assertions (
    hash       BLOB    NOT NULL PRIMARY KEY, -- SHA-256 of who issued it and its id
    expires_at INTEGER NOT NULL              -- unix microseconds: from then on it is too old by itself
) STRICT;

CREATE INDEX broker_assertions_expires_at ON broker_assertions (expires_at);
