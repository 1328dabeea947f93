-- Which clients the map named when it was last read, so that one that it does not
-- name any more loses what it was granted, over a restart too: who has its id next
-- is another. An older program leaves this to the next start of a newer one.
-- oldest: 13
-- +goose Up
CREATE TABLE oauth_map_clients (
    id      TEXT    NOT NULL PRIMARY KEY,
    gone_at INTEGER NOT NULL DEFAULT 0 -- since when the map does not name it: what it was granted until then is being ended
) STRICT;

INSERT INTO oauth_map_clients (id)
SELECT client_id FROM oauth_grants UNION SELECT client_id FROM oauth_consents;

DELETE FROM oauth_map_clients WHERE id IN (SELECT id FROM oauth_clients);

DROP INDEX oauth_grants_client_id;
CREATE INDEX oauth_grants_live_client ON oauth_grants (client_id) WHERE revoked_at = 0;
CREATE INDEX oauth_consents_client_id ON oauth_consents (client_id);
