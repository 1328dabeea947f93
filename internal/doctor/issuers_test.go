package doctor

import (
	"strings"
	"testing"
	"time"
)

// TestOutsideIssuers: of each issuer it is told whether its keys are there.
func TestOutsideIssuers(t *testing.T) {
	at := now.Add(-time.Hour)
	for _, c := range []struct {
		issuer Issuer
		want   State
		found  string
		mend   string
	}{
		{Issuer{Usable: true, Keys: 2, Had: at}, OK, "2 keys", ""},
		{Issuer{Usable: true, Had: at}, Warn, "no key of use", "algorithms"},
		{Issuer{Usable: true, Keys: 2, Had: at, Cause: "it hangs"}, Warn, "seen last at 2026-11-22T12:00:00Z: it hangs", "jwks"},
		{Issuer{Had: at, Cause: "it hangs"}, Fail, "seen last at 2026-11-22T12:00:00Z: it hangs", "jwks"},
		{Issuer{Cause: "it hangs"}, Fail, "never seen: it hangs", "jwks"},
		{Issuer{}, Unknown, "not asked for yet", "again"},
	} {
		p := newPatient(t)
		p.serves()
		c.issuer.Name = "sso"
		p.Running.Issuers = []Issuer{c.issuer}
		f := p.examine("zone", "outside issuer sso")
		if f.State != c.want || !strings.Contains(f.Found, c.found) || !strings.Contains(f.Mend, c.mend) {
			t.Errorf("%+v: got %s, found %q, mend %q; want %s with %q and %q", c.issuer, f.State, f.Found, f.Mend, c.want, c.found, c.mend)
		}
	}
}
