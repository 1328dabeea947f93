-- Revocations: one numbered row for each credential or subject that stopped
-- being believed. The head is the last number given: taking a number locks its
-- row until the transaction ends, so numbers are committed in order and none
-- is ever missing.
-- +goose Up
CREATE TABLE revocation_head (
    id     INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    number INTEGER NOT NULL
) STRICT;

INSERT INTO revocation_head (id, number) VALUES (1, 0);

CREATE TABLE revocations (
    number     INTEGER NOT NULL PRIMARY KEY,
    kind       TEXT    NOT NULL CHECK (kind IN ('credential', 'subject')),
    credential BLOB,             -- SHA-256 of the credential; kind credential only
    subject    TEXT,             -- kind subject only
    revoked_at INTEGER NOT NULL, -- unix microseconds
    CHECK ((kind = 'credential') = (credential IS NOT NULL)),
    CHECK ((kind = 'subject') = (subject IS NOT NULL))
) STRICT;

CREATE INDEX revocations_revoked_at ON revocations (revoked_at);
