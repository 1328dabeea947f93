package httpsig

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"sallyport.dev/internal/problem"
)

func TestFromRequest(t *testing.T) {
	want := good()
	if got, err := FromRequest(received(want, Proof{})); err != nil || got != want {
		t.Fatalf("%+v, %v, want %+v", got, err, want)
	}
	for _, name := range []string{TokenHeader, CorrelationHeader, ClientHeader, DigestHeader, InputHeader, SignatureHeader, CertificateHeader} {
		for what, values := range map[string][]string{
			"twice": {"a", "b"}, "twice the same": {"a", "a"}, "empty": {""}, "no line": {}, "empty beside": {"a", ""},
		} {
			r := received(want, Proof{Input: "mac=a", Signature: "mac=b", Certificate: "c"})
			r.Header[name] = values
			_, err := FromRequest(r)
			if err == nil {
				_, err = ProofFrom(r.Header)
			}
			wantReason(t, name+" "+what, err, problem.ProofInvalid)
		}
	}
	r := received(want, Proof{})
	r.Header["Host"] = []string{"other.example"}
	_, err := FromRequest(r)
	wantReason(t, "two hosts", err, problem.ProofInvalid)
	r.Header["Host"] = []string{r.Host}
	_, err = FromRequest(r)
	wantReason(t, "one host twice", err, problem.OK)
}

func TestProofFromNeedsBoth(t *testing.T) {
	for _, c := range []struct {
		h        http.Header
		want     problem.Reason
		strength Strength
	}{
		{http.Header{}, problem.OK, Channel},
		{http.Header{"Signature": {"mac=:a:"}}, problem.ProofInvalid, Channel},
		{http.Header{"Signature-Input": {"mac=()"}}, problem.ProofInvalid, Channel},
		{http.Header{"Signature-Input": {"mac=()"}, "Signature": {"mac=:a:"}}, problem.OK, MAC},
		{http.Header{"Signature-Input": {"wimse=()"}, "Signature": {"wimse=:a:"}}, problem.OK, Signature},
		{http.Header{"Signature-Input": {"sig1=()"}, "Signature": {"sig1=:a:"}}, problem.OK, undeclared},
		{http.Header{"Signature-Input": {"machine=()"}, "Signature": {"mac=:a:"}}, problem.OK, undeclared},
	} {
		p, err := ProofFrom(c.h)
		wantReason(t, c.h.Get("Signature-Input"), err, c.want)
		if got := p.Strength(); got != c.strength {
			t.Errorf("%v: strength %s, want %s", c.h, got, c.strength)
		}
	}
}

func TestFromOutgoing(t *testing.T) {
	for _, c := range []struct{ method, url, host, wantMethod, wantTarget, wantAuthority string }{
		{"", "http://orders/a%2Fb?x=1", "", "GET", "/a%2Fb?x=1", "orders"},
		{"PUT", "https://orders:9000", "", "PUT", "/", "orders:9000"},
		{"GET", "https://orders/a?", "other.example", "GET", "/a?", "other.example"},
	} {
		r, err := http.NewRequestWithContext(t.Context(), c.method, c.url, nil)
		if err != nil {
			t.Fatal(err)
		}
		if r.Method = c.method; c.host != "" {
			r.Host = c.host
		}
		r.Header.Set(TokenHeader, "tok")
		got, err := FromOutgoing(r)
		if err != nil || got.Method != c.wantMethod || got.Target != c.wantTarget || got.Authority != c.wantAuthority || got.Token != "tok" {
			t.Errorf("%s %s: %+v, %v", c.method, c.url, got, err)
		}
		r.Header.Add(TokenHeader, "tok2")
		if _, err := FromOutgoing(r); problem.ReasonOf(err) != problem.InternalError {
			t.Errorf("two tokens: %v", err)
		}
	}
}

// What cannot stand in a base is refused by both sides alike.
func TestMessageForm(t *testing.T) {
	long := strings.Repeat("a", maxValue+1)
	for _, c := range []struct {
		name string
		edit func(*Message)
		ok   bool
	}{
		{"as it is", func(*Message) {}, true},
		{"asterisk target", func(m *Message) { m.Target = "*" }, false},
		{"absolute target", func(m *Message) { m.Target = "http://shop.example/" }, false},
		{"authority target", func(m *Message) { m.Target = "shop.example:443" }, false},
		{"empty target", func(m *Message) { m.Target = "" }, false},
		{"space in target", func(m *Message) { m.Target = "/a b" }, false},
		{"fragment", func(m *Message) { m.Target = "/a#b" }, false},
		{"comma in target", func(m *Message) { m.Target = "/a,b?c,d" }, true},
		{"raw byte in target", func(m *Message) { m.Target = "/\xff" }, false},
		{"line in target", func(m *Message) { m.Target = "/a\n\"@authority\": b" }, false},
		{"long target", func(m *Message) { m.Target = "/" + long }, false},
		{"no method", func(m *Message) { m.Method = "" }, false},
		{"line in method", func(m *Message) { m.Method = "GET\n" }, false},
		{"method with hyphen", func(m *Message) { m.Method = "M-SEARCH" }, true},
		{"two tokens joined", func(m *Message) { m.Token = "a, b" }, false},
		{"two correlations joined", func(m *Message) { m.Correlation = "a,b" }, false},
		{"two clients joined", func(m *Message) { m.Client += ", " + m.Client }, false},
		{"two digests joined", func(m *Message) { m.Digest += ", sha-512=:AA==:" }, false},
		{"space before", func(m *Message) { m.Token = " a" }, false},
		{"space behind", func(m *Message) { m.Token = "a " }, false},
		{"tab", func(m *Message) { m.Token = "a\tb" }, false},
		{"line break", func(m *Message) { m.Correlation = "a\nb" }, false},
		{"long token", func(m *Message) { m.Token = long }, false},
		{"upper-case authority", func(m *Message) { m.Authority = "SHOP.example" }, true},
		{"address", func(m *Message) { m.Authority = "[2001:db8::1]:8443" }, true},
		{"address without brackets", func(m *Message) { m.Authority = "2001:db8::443" }, false},
		{"user", func(m *Message) { m.Authority = "a@b" }, false},
		{"empty port", func(m *Message) { m.Authority = "shop.example:" }, false},
		{"only a port", func(m *Message) { m.Authority = ":443" }, false},
		{"path in authority", func(m *Message) { m.Authority = "a/b" }, false},
	} {
		m := good()
		c.edit(&m)
		s, v := macPair(t)
		_, err := s.Append(nil, &m, routeMAC, start)
		if (err == nil) != c.ok {
			t.Errorf("%s: sender: %v", c.name, err)
		}
		if c.ok {
			wantReason(t, c.name, v.Verify(&m, routeMAC, macProof(t, s, m, routeMAC, start), start), problem.OK)
			continue
		}
		plain := good()
		p := macProof(t, s, plain, routeMAC, start)
		wantReason(t, c.name+": receiver", v.Verify(&m, routeMAC, p, start), problem.ProofInvalid)
	}
}

func TestAuthorityIsNormalised(t *testing.T) {
	for in, want := range map[string]string{
		"Shop.Example": "shop.example", "shop.example:443": "shop.example", "SHOP.EXAMPLE:443": "shop.example",
		"shop.example:80": "shop.example:80", "shop.example:8443": "shop.example:8443", "shop.example:4430": "shop.example:4430",
		"[::1]:443": "[::1]", "[::1]": "[::1]", "127.0.0.1:443": "127.0.0.1",
	} {
		if got, err := normalAuthority(in); err != nil || got != want {
			t.Errorf("%s: %s, %v, want %s", in, got, err, want)
		}
	}
}

func TestStrengthDemanded(t *testing.T) {
	const bad = undeclared
	for _, c := range []struct {
		demand, given Strength
		want          problem.Reason
	}{
		{Channel, Channel, problem.OK}, {Channel, MAC, problem.OK}, {Channel, Signature, problem.OK},
		{MAC, Channel, problem.ProofMissing}, {MAC, MAC, problem.OK}, {MAC, Signature, problem.OK},
		{Signature, Channel, problem.ProofMissing}, {Signature, MAC, problem.ProofDowngraded}, {Signature, Signature, problem.OK},
		{MAC, bad, problem.ProofInvalid}, {Channel, bad, problem.ProofInvalid}, {Channel, Signature + 1, problem.ProofInvalid},
		{bad, Signature, problem.InternalError}, {Signature + 1, Signature, problem.InternalError},
	} {
		wantReason(t, c.given.String()+" for "+c.demand.String(), Profile{Demand: c.demand}.Accepts(c.given), c.want)
	}
	s, v := macPair(t)
	m := good()
	p := macProof(t, s, m, routeMAC, start)
	wantReason(t, "a mac where a signature is demanded", v.Verify(&m, routeSig, p, start), problem.ProofDowngraded)
	wantReason(t, "nothing where a mac is demanded", v.Verify(&m, routeMAC, Proof{}, start), problem.ProofMissing)
	wantReason(t, "no demand", v.Verify(&m, Profile{}, p, start), problem.InternalError)
	wantReason(t, "the mac where it is demanded", v.Verify(&m, routeMAC, p, start), problem.OK)
	sig := newVerifier(t, newSVID(t, senderID))
	_, err := sig.Verify(t.Context(), &m, routeSig, p, start)
	wantReason(t, "a mac given to the verifier of signatures", err, problem.ProofDowngraded)
	_, err = sig.Verify(t.Context(), &m, routeMAC, p, start)
	wantReason(t, "and on a route where a mac suffices", err, problem.ProofInvalid)
}

// The eight-byte steps see what a look at every byte sees.
func TestWithin(t *testing.T) {
	slow := func(s string, low, except byte) bool {
		for i := range len(s) {
			if s[i] < low || s[i] > '~' || s[i] == except {
				return false
			}
		}
		return true
	}
	for size := range 20 {
		for at := range size {
			for c := range 256 {
				for _, fill := range []byte{'a', ' ', '!', '~', '-', '+', 0x80} {
					b := []byte(strings.Repeat(string([]byte{fill}), size))
					b[at] = byte(c)
					if got, want := within(string(b), ' ', ','), slow(string(b), ' ', ','); got != want {
						t.Fatalf("field %q: %v, want %v", b, got, want)
					}
					if got, want := within(string(b), '!', '#'), slow(string(b), '!', '#'); got != want {
						t.Fatalf("target %q: %v, want %v", b, got, want)
					}
				}
			}
		}
	}
}

func TestRequestOfAServer(t *testing.T) {
	r := httptest.NewRequest("GET", "/a%2fb//c?x=%41&", nil)
	m, err := FromRequest(r)
	if err != nil || m.Target != "/a%2fb//c?x=%41&" || m.Authority != "example.com" {
		t.Errorf("%+v, %v", m, err)
	}
}
