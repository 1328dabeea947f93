-- Letters to be sent. A row starts as an intent (what happened, to which
-- address); the worker makes the letter of it, or finds that there is none to
-- write. Both are sealed under the root key and bound to the row, and gone when
-- it has ended: no address can be had from here.
-- oldest: 6
-- +goose Up
CREATE TABLE mail_outbox (
    id         TEXT    NOT NULL PRIMARY KEY, -- random; the Message-ID is made of it
    kind       TEXT    NOT NULL,
    state      TEXT    NOT NULL CHECK (state IN ('intent', 'ready', 'sent', 'dropped', 'dead')),
    sealed     BLOB,                         -- job or letter; NULL when it has ended
    lease      TEXT    NOT NULL DEFAULT '',  -- who has it: only they may end it
    tries      INTEGER NOT NULL DEFAULT 0,   -- that failed
    cause      TEXT    NOT NULL DEFAULT '',  -- of the last failure: a code, never a text from outside
    created_at INTEGER NOT NULL,             -- unix microseconds, as all that end in _at
    due_at     INTEGER NOT NULL,             -- next try; of a row that is leased, the end of the lease
    expires_at INTEGER NOT NULL,             -- of no use after that
    ended_at   INTEGER NOT NULL DEFAULT 0,   -- 0: waiting
    CHECK ((ended_at = 0) = (sealed IS NOT NULL)),
    CHECK ((ended_at = 0) = (state IN ('intent', 'ready')))
) STRICT;

CREATE INDEX mail_outbox_due_at ON mail_outbox (due_at) WHERE ended_at = 0;
CREATE INDEX mail_outbox_created_at ON mail_outbox (created_at) WHERE ended_at = 0;
CREATE INDEX mail_outbox_expires_at ON mail_outbox (expires_at) WHERE ended_at = 0;
CREATE INDEX mail_outbox_ended_at ON mail_outbox (ended_at) WHERE ended_at > 0;
CREATE INDEX mail_outbox_dead ON mail_outbox (id) WHERE state = 'dead';
