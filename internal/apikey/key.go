package apikey

import (
	"context"
	"net/netip"
	"time"

	"sallyport.dev/internal/store"
)

// Key is an API key without its secret.
type Key struct {
	ID        string // public: stands in the key; the `sub` of its principal is key_ID
	Name      string // unique among live service accounts, or among the live keys of its owner
	Owner     string // user id; empty: a service account
	Contact   string // of a service account: where the reminder goes; may be empty
	Roles     []string
	Scopes    []string
	Addresses []netip.Prefix // from where it is taken; empty: from anywhere
	Version   uint64
	Created   time.Time
	Expires   time.Time // zero: never
	Ended     time.Time // zero: not revoked
	Used      time.Time // to the minute; zero: never
}

// Live says whether the key opens anything at a time.
func (k Key) Live(now time.Time) bool {
	return k.Ended.IsZero() && (k.Expires.IsZero() || now.Before(k.Expires))
}

// Subject is the `sub` of the key's principal.
func (k Key) Subject() string { return subjectOf(k.ID) }

func subjectOf(id string) string { return "key_" + id }

const (
	keyColumns = "k.id, k.name, k.owner, k.contact, k.roles, k.scopes, k.addresses, k.version, k.created_at, k.expires_at, k.ended_at, k.used_at"

	// ownerJoin finds the owner of a key where the owner may use it, and ownerLives
	// says whether the key has such an owner or needs none: an account that is
	// disabled, or about to be deleted, has no keys meanwhile.
	ownerJoin  = " LEFT JOIN users u ON u.id = k.owner AND u.disabled_at = 0 AND u.delete_at = 0"
	ownerLives = "(CASE WHEN k.owner = '' OR u.id IS NOT NULL THEN 1 ELSE 0 END)"
)

type scanner interface{ Scan(dest ...any) error }

func scanKey(row scanner, more ...any) (Key, error) {
	var k Key
	var roles, scopes, addresses string
	var created, expires, ended, used int64
	err := row.Scan(append([]any{&k.ID, &k.Name, &k.Owner, &k.Contact, &roles, &scopes, &addresses, &k.Version, &created, &expires, &ended, &used}, more...)...)
	if err != nil {
		return Key{}, err
	}
	k.Roles, k.Scopes = splitNames(roles), splitNames(scopes)
	k.Created, k.Expires = store.FromMicros(created), store.FromMicros(expires)
	k.Ended, k.Used = store.FromMicros(ended), store.FromMicros(used)
	k.Addresses, err = splitAddresses(addresses)
	return k, err
}

// scanKeys reads the keys of a query to its end.
func scanKeys(ctx context.Context, t tx, query string, args ...any) ([]Key, error) {
	rows, err := t.Query(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	list := []Key{}
	for rows.Next() {
		k, err := scanKey(rows)
		if err != nil {
			return nil, err
		}
		list = append(list, k)
	}
	return list, rows.Err()
}

// whose bounds an operation to the keys of one user. Administrators ask for
// anybody's.
type whose struct {
	anybody bool
	user    string
}

// where is the end of a statement on one live key, and its parameters.
func (w whose) where(key string) (string, []any) {
	if w.anybody {
		return " WHERE id = ? AND ended_at = 0", []any{key}
	}
	return " WHERE id = ? AND ended_at = 0 AND owner = ?", []any{key, w.user}
}

// has says whether a key is one of them.
func (w whose) has(k Key) bool { return w.anybody || k.Owner == w.user }

// owned is the keys of one user. No user has the empty id: it would mean the
// service accounts.
func owned(user string) (whose, error) {
	w := whose{user: user}
	if user == "" {
		return w, w.unknown()
	}
	return w, nil
}
