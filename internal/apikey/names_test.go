package apikey

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"sallyport.dev/internal/problem"
)

func TestAddresses(t *testing.T) {
	w := newWorld(t)
	many := make([]string, addressesMax+1)
	for i := range many {
		many[i] = fmt.Sprintf("192.0.2.%d", i)
	}
	for i, c := range []struct {
		addresses []string
		want      string // empty: refused
	}{
		{nil, "[]"},
		{[]string{"192.0.2.7"}, "[192.0.2.7/32]"},
		{[]string{"2001:db8::/32", "192.0.2.0/24", "192.0.2.0/24"}, "[192.0.2.0/24 2001:db8::/32]"},
		{[]string{"2001:DB8::1"}, "[2001:db8::1/128]"},
		{[]string{"0.0.0.0/0", "::/0"}, "[0.0.0.0/0 ::/0]"},
		{many[1:], "many"},
		{many, ""},
		{[]string{"192.0.2.7/24"}, ""}, // host bits: one address or the network?
		{[]string{"::ffff:192.0.2.7"}, ""},
		{[]string{"::ffff:192.0.2.0/120"}, ""},
		{[]string{"fe80::1%eth0"}, ""},
		{[]string{"192.0.2"}, ""},
		{[]string{"192.0.2.7/33"}, ""},
		{[]string{"192.0.2.07"}, ""},
		{[]string{"192.0.2.7 192.0.2.8"}, ""},
		{[]string{"shop.example"}, ""},
		{[]string{""}, ""},
	} {
		k, text, err := w.keys.Create(t.Context(), NewKey{Name: fmt.Sprint("k", i), Addresses: c.addresses})
		if c.want == "" {
			wantReason(t, fmt.Sprint(c.addresses), err, problem.AdminInvalid)
			continue
		}
		if err != nil {
			t.Errorf("%q: %v", c.addresses, err)
			continue
		}
		p, _, err := w.keys.Resolve(t.Context(), string(text))
		if err != nil || fmt.Sprint(p.Networks) != fmt.Sprint(k.Addresses) || c.want != "many" && fmt.Sprint(p.Networks) != c.want {
			t.Errorf("%q: networks %v, key %v, %v, want %s", c.addresses, p.Networks, k.Addresses, err, c.want)
		}
	}
}

// TestAddressesThatCannotBeRead: a limit that is damaged does not open the key.
func TestAddressesThatCannotBeRead(t *testing.T) {
	w := newWorld(t)
	k, text := w.createKey(NewKey{Name: "partner", Addresses: []string{"192.0.2.7"}})
	if p, _, err := w.keys.Resolve(t.Context(), text); err != nil || !p.From(netip.MustParseAddr("192.0.2.7")) || p.From(netip.MustParseAddr("192.0.2.8")) {
		t.Fatalf("positive control: %+v, %v", p, err)
	}
	w.exec("UPDATE api_keys SET addresses = 'here' WHERE id = ?", k.ID)
	if got := w.resolve(text); got != problem.InternalError {
		t.Errorf("a damaged limit: %v, want internal.error", got)
	}
}

func TestContact(t *testing.T) {
	w := newWorld(t)
	for i, c := range []struct {
		contact string
		want    problem.Reason
	}{
		{"", problem.OK},
		{"ops@partner.example", problem.OK},
		{"Ops <ops@partner.example>", problem.AdminInvalid},
		{"ops@partner.example, eve@evil.example", problem.AdminInvalid},
		{"ops@partner.example\r\nBcc: eve@evil.example", problem.AdminInvalid},
		{"ops", problem.AdminInvalid},
		{"öps@partner.example", problem.AdminInvalid},
		{strings.Repeat("a", 250) + "@b.example", problem.AdminInvalid},
	} {
		k, _, err := w.keys.Create(t.Context(), NewKey{Name: fmt.Sprint("k", i), Contact: c.contact})
		wantReason(t, c.contact, err, c.want)
		if err == nil && k.Contact != c.contact {
			t.Errorf("contact %q, want %q", k.Contact, c.contact)
		}
	}
}
