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

-- What a chart of a day asks for: few rows, so that it is quick.
CREATE TABLE log_service_minutes (
    minute       INTEGER NOT NULL, -- since 1970
    service      TEXT    NOT NULL, -- empty when no route matched
    class_0      INTEGER NOT NULL, -- requests by the first digit of the status; 0: any other
    class_1      INTEGER NOT NULL,
    class_2      INTEGER NOT NULL,
    class_3      INTEGER NOT NULL,
    class_4      INTEGER NOT NULL,
    class_5      INTEGER NOT NULL,
    bytes_in     INTEGER NOT NULL,
    bytes_out    INTEGER NOT NULL,
    duration_sum INTEGER NOT NULL, -- microseconds
    duration_max INTEGER NOT NULL, -- microseconds
    PRIMARY KEY (minute, service)
) STRICT;

-- The same requests by route, status class and reason. A slot is 1048576 times
-- the minute plus the series: one number as the key keeps rows small, and those
-- of a day together.
CREATE TABLE log_minutes (
    slot         INTEGER NOT NULL PRIMARY KEY,
    requests     INTEGER NOT NULL,
    bytes_in     INTEGER NOT NULL,
    bytes_out    INTEGER NOT NULL,
    duration_sum INTEGER NOT NULL, -- microseconds
    duration_max INTEGER NOT NULL  -- microseconds
) STRICT;
