package zone

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/rogpeppe/go-internal/txtar"
)

// enforcers says who enforces each key that this version claims to enforce. A
// new key goes here, or says in the table what it waits for.
func enforcers() map[string]string {
	return map[string]string{
		"version": "the parser: there is one", "zone": "token: issuer and audience; pki: names", "include": "the parser",
		"listeners": "gateway", "listeners.admin": "app", "listeners.admin.address": "app",
		"listeners.control": "app", "listeners.control.address": "app",
		"listeners.*": "gateway", "listeners.*.address": "gateway", "listeners.*.hosts": "gateway: 421",
		"listeners.*.certificate.cert": "pki",
		"listeners.*.certificate.key":  "pki", "listeners.*.client_ca": "gateway", "listeners.*.anonymous": "the parser",
		"listeners.*.trusted_proxies": "gateway", "listeners.*.limits": "gateway", "listeners.*.limits.body": "gateway",
		"listeners.*.limits.header": "gateway", "listeners.*.limits.header_time": "gateway", "listeners.*.limits.idle": "gateway",
		"listeners.*.limits.body_rate": "gateway", "listeners.*.limits.connections": "gateway", "listeners.*.limits.streams": "gateway",
		"listeners.*.limits.rate": "gateway: kv",
		"identity":                "identity", "identity.listener": "gateway", "identity.sessions": "session",
		"identity.sessions.idle": "session", "identity.sessions.absolute": "session", "identity.sessions.remember": "session",
		"identity.providers": "bearer", "identity.providers.*": "bearer", "identity.providers.*.issuer": "bearer", "identity.providers.*.audience": "bearer",
		"identity.providers.*.jwks": "bearer", "identity.providers.*.algorithms": "bearer", "identity.providers.*.clients": "bearer", "identity.providers.*.ca": "bearer",
		"identity.providers.*.roles": "bearer", "identity.providers.*.roles.claim": "bearer", "identity.providers.*.roles.map": "bearer", "identity.providers.*.roles.map.*": "bearer",
		"identity.providers.*.kind": "bearer and broker", "identity.providers.*.client_id": "broker", "identity.providers.*.client_secret": "broker",
		"identity.providers.*.client_secret.file": "broker", "identity.providers.*.client_secret.env": "broker",
		"identity.providers.*.title": "broker", "identity.providers.*.scopes": "broker", "identity.providers.*.metadata": "broker", "identity.providers.*.entity_id": "broker",
		"identity.url": "identity, mail and oauth", "identity.registration": "identity", "identity.mfa": "identity", "identity.mail": "mail", "identity.mail.smtp": "mail", "identity.mail.smtp.file": "mail", "identity.mail.smtp.env": "mail",
		"identity.mail.from": "mail", "identity.password": "identity", "identity.password.max_age": "identity", "identity.theme": "page and mail",
		"identity.clients": "oauth", "identity.clients.id": "oauth", "identity.clients.title": "oauth", "identity.clients.kind": "oauth", "identity.clients.redirect_uris": "oauth",
		"identity.clients.logout_uris": "oauth", "identity.clients.backchannel_logout_uri": "oauth", "identity.clients.scopes": "oauth", "identity.clients.grants": "oauth",
		"identity.clients.secret": "oauth", "identity.clients.secret.file": "oauth", "identity.clients.secret.env": "oauth", "identity.clients.jwks": "oauth", "identity.clients.certificate": "oauth",
		"identity.clients.access_token": "oauth", "identity.clients.dpop": "oauth", "identity.clients.par": "oauth", "identity.clients.consent": "oauth",
		"services.*.routes.*.allow": "policy", "services.*.routes.*.mfa": "policy", "services.*.routes.*.max_age": "policy", "services.*.routes.*.signed": "gateway",
		"services": "gateway", "services.*": "gateway", "services.*.upstream": "gateway", "services.*.owner": "nobody: it informs",
		"services.*.embedded": "guard", "services.*.sidecar": "sidecar", "services.*.proof": "gateway and guard: httpsig",
		"services.*.outbound": "sidecar", "services.*.calls.*.as": "control mints, guard judges", "services.*.routes.*.proof": "gateway and guard: httpsig",
		"services.*.plain_headers": "gateway", "services.*.health": "gateway",
		"services.*.routes": "gateway", "services.*.routes.*": "gateway", "services.*.routes.*.roles": "policy",
		"services.*.routes.*.scopes": "policy", "services.*.routes.*.owner": "guard", "services.*.routes.*.limit": "gateway: kv",
		"services.*.routes.*.listener": "gateway", "services.*.routes.*.stream": "gateway and guard", "services.*.routes.*.params": "policy", "services.*.routes.*.params.*": "policy",
		"services.*.routes.*.cors": "gateway", "services.*.routes.*.cors.origins": "gateway", "services.*.routes.*.cors.headers": "gateway",
		"services.*.routes.*.paths": "gateway", "services.*.calls": "guard", "services.*.calls.*": "guard", "services.*.calls.*.call": "guard",
		"store": "app", "store.postgres": "app", "store.postgres.file": "app", "store.postgres.env": "app", "store.valkey": "app", "store.valkey.file": "app", "store.valkey.env": "app", "journal": "journal", "journal.retain": "journal", "journal.size": "journal",
		"export": "export", "export.otlp": "export", "export.jsonl": "export",
		"revocation_grace": "met: the gateway and the store are one process", "staleness": "guard",
	}
}

// TestEveryKey walks the table of keys. Each key is written in the map of
// good_everything.txt, counts there (without it the map is refused, or another,
// or has other notices), and is enforced by somebody or makes a notice.
func TestEveryKey(t *testing.T) {
	data := everything(t)
	root := mapType().form
	r := newReader()
	r.readMap("map", data)
	if err := r.err(); err != nil {
		t.Fatal(err)
	}
	var tree any
	if err := yaml.Unmarshal(data, &tree); err != nil {
		t.Fatal(err)
	}
	full := parseTree(t, tree)
	enforced := enforcers()
	written := map[string][]string{} // paths by the key of the table
	for path := range r.places {
		if k := keyOf(root, path); k != "" {
			written[k] = append(written[k], path)
		}
	}
	walkKeys("", root, "", func(key string, k keyForm, waits string) {
		switch {
		case key == "include": // TestMaps: the map of this test is one file
			return
		case strings.HasSuffix(key, ".env") && written[strings.TrimSuffix(key, "env")+"file"] != nil,
			strings.HasSuffix(key, ".file") && written[strings.TrimSuffix(key, "file")+"env"] != nil: // a secret takes one of the two
		case len(written[key]) == 0:
			t.Errorf("%s: the map of everything does not write it", key)
		case waits != "" && enforced[key] != "":
			t.Errorf("%s: enforced by %s, and waits too: %s", key, enforced[key], waits)
		case waits == "" && enforced[key] == "":
			t.Errorf("%s: neither enforced by anybody nor waiting for anything", key)
		case k.later != "" && !slices.ContainsFunc(full.Notices, func(n Notice) bool {
			return n.Text == k.later && n.Effect == k.effect && keyOf(root, n.Path) == key
		}):
			t.Errorf("%s: no notice says %q", key, k.later)
		}
		for _, path := range written[key] {
			if without := parseTree(t, cut(tree, segments(path))); key != "version" && same(full, without) {
				t.Errorf("%s: without it the map is the same", path)
			}
		}
		delete(enforced, key)
	})
	delete(enforced, "include")
	if len(enforced) > 0 {
		t.Errorf("enforced, and no keys of the table: %v", sortedKeys(enforced))
	}
}

func everything(t *testing.T) []byte {
	t.Helper()
	archive, err := txtar.ParseFile("testdata/maps/good_everything.txt")
	if err != nil {
		t.Fatal(err)
	}
	return archive.Files[0].Data
}

// walkKeys visits every key of the table; waits is what it or one above it waits for.
func walkKeys(path string, f form, waits string, visit func(key string, k keyForm, waits string)) {
	for _, k := range f.keys {
		key := strings.TrimPrefix(path+"."+k.name, ".")
		if k.any != nil {
			key = strings.TrimPrefix(path+".*", ".")
		}
		reason := waits
		if k.later != "" {
			reason = k.later
		}
		visit(key, k, reason)
		if key == "listeners.*.certificate" {
			reason = waits // acme waits, files do not
		}
		walkKeys(key, k.form, reason, visit)
	}
}

// segments splits a path: services, front, routes, GET /short, allow.
func segments(path string) []string {
	var list []string
	for ; path != ""; path = parentOf(path) {
		if last := path[len(parentOf(path)):]; strings.HasPrefix(last, "[") && last[1] != '"' {
			list = append(list, last)
		} else {
			list = append(list, nameOf(path))
		}
	}
	slices.Reverse(list)
	return list
}

// keyOf returns the key of the table that a path is of; empty for an entry of a list.
func keyOf(root form, path string) string {
	f, key := root, ""
	parts := segments(path)
	for i, part := range parts {
		if part[0] == '[' {
			if i == len(parts)-1 {
				return ""
			}
			continue
		}
		n := slices.IndexFunc(f.keys, func(k keyForm) bool { return k.name == part })
		if n < 0 {
			part, n = "*", slices.IndexFunc(f.keys, func(k keyForm) bool { return k.any != nil })
		}
		if n < 0 {
			return "unknown: " + path
		}
		key, f = strings.TrimPrefix(key+"."+part, "."), f.keys[n].form
	}
	return key
}

// cut returns a copy of the tree without what stands at a path.
func cut(tree any, path []string) any {
	switch tree := tree.(type) {
	case map[string]any:
		copied := map[string]any{}
		for k, v := range tree {
			if k != path[0] {
				copied[k] = v
			} else if len(path) > 1 {
				copied[k] = cut(v, path[1:])
			}
		}
		return copied
	case []any:
		copied := slices.Clone(tree)
		i := int(path[0][1] - '0')
		copied[i] = cut(copied[i], path[1:])
		return copied
	default:
		return tree
	}
}

// parseTree parses a map that was taken apart; nil when it is refused.
func parseTree(t *testing.T, tree any) *Zone {
	t.Helper()
	data, err := json.Marshal(tree) // JSON is YAML
	if err != nil {
		t.Fatal(err)
	}
	z, err := Parse("map", data)
	if err != nil {
		return nil
	}
	return z
}

func same(a, b *Zone) bool {
	told := func(z *Zone) (list []string) {
		for _, n := range z.Notices {
			list = append(list, n.Path+n.Text)
		}
		slices.Sort(list)
		return list
	}
	return a != nil && b != nil && a.Revision == b.Revision && reflect.DeepEqual(told(a), told(b))
}
