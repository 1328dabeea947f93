-- What is known of a password besides its hash, and invitations that are open. An
-- older program writes neither: a password that it stores counts as not known.
-- oldest: 12
-- +goose Up
ALTER TABLE users ADD COLUMN password_stands TEXT NOT NULL DEFAULT ''; -- long: it has the length of one without a second factor beside it; vouched: an administrator answers for it; empty: not known

-- Who holds no second factor came in under the rule for one factor.
UPDATE users SET password_stands = 'vouched'
    WHERE password <> '' AND id NOT IN (SELECT user_id FROM factors WHERE kind IN ('passkey', 'totp'));

-- One for each address: the last one says which roles there will be. The letter is
-- in the outbox, its link among the flows; neither is of use without the row.
CREATE TABLE invitations (
    email_key  TEXT    NOT NULL PRIMARY KEY, -- in lower case
    email      TEXT    NOT NULL,             -- as it was written
    roles      TEXT    NOT NULL,             -- sorted, separated by spaces
    created_at INTEGER NOT NULL,             -- unix microseconds, as all that end in _at
    expires_at INTEGER NOT NULL
) STRICT;

CREATE INDEX invitations_expires_at ON invitations (expires_at);
