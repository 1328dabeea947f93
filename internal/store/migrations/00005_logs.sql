-- Minute roll-ups of the journal. They are derived: counts and the place up to
-- which records were counted change in one transaction, so each record counts
-- once, whatever happens in between.
-- +goose Up
CREATE TABLE log_positions (
    journal  TEXT    NOT NULL PRIMARY KEY, -- id of the journal
    sequence INTEGER NOT NULL,             -- of the next record to count
    head     TEXT    NOT NULL,             -- the journal's durable end at that time: an anchor for verifying it
    moved_at INTEGER NOT NULL              -- unix microseconds
) STRICT;

CREATE TABLE log_series (
    id      INTEGER NOT NULL PRIMARY KEY, -- under 1048576
    service TEXT    NOT NULL,
    route   TEXT    NOT NULL, -- as declared, METHOD /path; empty when none matched
    class   INTEGER NOT NULL, -- first digit of the status
    reason  TEXT    NOT NULL,
    UNIQUE (service, route, class, reason)
) STRICT;

-- A slot is 1048576 * minute + series, minutes counted from 1970: one number as
-- the key keeps a day's rows together and small.
CREATE TABLE log_minutes (
    slot         INTEGER NOT NULL PRIMARY KEY,
    requests     INTEGER NOT NULL,
    bytes_in     INTEGER NOT NULL,
    bytes_out    INTEGER NOT NULL,
    duration_sum INTEGER NOT NULL, -- microseconds
    duration_max INTEGER NOT NULL  -- microseconds
) STRICT;
