package bearer

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sallyport.dev/internal/outward"
	"sallyport.dev/internal/problem"
	"sallyport.dev/zone"
)

// TestBadIssuers: whatever comes in the place of keys, no token is accepted, and
// with the right answers it is.
func TestBadIssuers(t *testing.T) {
	s := newSigner(t, "k", "ES256")
	other := startIssuer(t, s)
	text := func(body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(body)) }
	}
	to := func(address string) http.HandlerFunc {
		return func(w http.ResponseWriter, q *http.Request) {
			http.Redirect(w, q, address+q.URL.Path, http.StatusFound)
		}
	}
	set := string(mustJSON(t, object{"keys": []object{s.jwk()}}))
	for _, c := range []struct {
		name   string
		direct bool // jwks is in the map: no discovery
		answer http.HandlerFunc
		cause  string
	}{
		{"garbage", false, text("<html>"), "invalid character"},
		{"garbage for keys", true, text("<html>"), "invalid character"},
		{"nothing", true, text(""), "unexpected end"},
		{"an error", true, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503); _, _ = w.Write([]byte(set)) }, "answered 503"},
		{"no content", true, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }, "answered 204"},
		{"huge", true, text(set[:len(set)-1] + strings.Repeat(" ", outward.MaxBody) + "}"), "longer than"},
		{"without end", true, func(w http.ResponseWriter, _ *http.Request) {
			for {
				if _, err := w.Write(make([]byte, 1<<14)); err != nil {
					return
				}
			}
		}, "longer than"},
		{"a huge head", true, func(w http.ResponseWriter, _ *http.Request) {
			for n := range 100 {
				w.Header().Set(fmt.Sprint("X-", n), strings.Repeat("x", 1<<10))
			}
			_, _ = w.Write([]byte(set))
		}, "header"},
		{"cut off", true, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100000")
			_, _ = w.Write([]byte(set))
			panic(http.ErrAbortHandler)
		}, "EOF"},
		{"slow", true, func(_ http.ResponseWriter, q *http.Request) { <-q.Context().Done() }, ""},
		{"slow in the middle", true, func(w http.ResponseWriter, q *http.Request) {
			_, _ = w.Write([]byte(set[:10]))
			_ = http.NewResponseController(w).Flush()
			<-q.Context().Done()
		}, ""},
		{"redirect to another host", true, to(other.URL), "answered 302"},
		{"redirect of discovery to another host", false, to(other.URL), "answered 302"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := startIssuer(t, s)
			p := r.provider("sso")
			if c.direct {
				p.JWKS = r.URL + "/keys"
			}
			token := s.token(t, s.header(), r.claims())
			newWorld(t, Config{}, p).accepted("positive control", token)
			r.answers(c.answer)
			cfg := Config{}
			if strings.HasPrefix(c.name, "slow") {
				cfg.Timeout = 50 * time.Millisecond // it never comes: any time shows it
			}
			w := newWorld(t, cfg, p)
			w.refused(c.name, token, problem.AuthUnavailable)
			st := w.States()[0]
			if st.Err == nil || !strings.Contains(st.Err.Error(), c.cause) {
				t.Errorf("cause %v, want %q", st.Err, c.cause)
			}
			want := "its answer is of no use"
			switch _, status, answered := strings.Cut(c.cause, "answered "); {
			case answered:
				want = "it answers " + status
			case strings.HasPrefix(c.name, "slow"):
				want = "it gives no answer in time"
			case c.cause == "header", c.cause == "EOF": // the transport gives up before there is an answer
				want = "it cannot be reached"
			}
			if got := st.Cause(); got != want {
				t.Errorf("in fixed words %q, want %q", got, want)
			}
		})
	}
	if n := other.discoveries.Load() + other.keySets.Load(); n != 0 {
		t.Errorf("the other host was asked %d times", n)
	}
}

func TestBadDiscovery(t *testing.T) {
	s := newSigner(t, "k", "ES256")
	r := startIssuer(t, s)
	token := s.token(t, s.header(), r.claims())
	newWorld(t, Config{}, r.provider("sso")).accepted("positive control", token)
	for name, document := range map[string]object{
		"of another issuer":         {"issuer": "https://other.example", "jwks_uri": r.URL + "/keys"},
		"of the issuer and a slash": {"issuer": r.URL + "/", "jwks_uri": r.URL + "/keys"},
		"of no issuer":              {"jwks_uri": r.URL + "/keys"},
		"of a list of issuers":      {"issuer": []string{r.URL}, "jwks_uri": r.URL + "/keys"},
		"without keys":              {"issuer": r.URL},
		"keys over plain http":      {"issuer": r.URL, "jwks_uri": "http" + strings.TrimPrefix(r.URL, "https") + "/keys"},
		"keys in a file":            {"issuer": r.URL, "jwks_uri": "file:///etc/passwd"},
		"keys with a login":         {"issuer": r.URL, "jwks_uri": "https://a:b@" + strings.TrimPrefix(r.URL, "https://") + "/keys"},
		"keys on a path":            {"issuer": r.URL, "jwks_uri": "/keys"},
	} {
		r.discloses(document)
		asked := r.keySets.Load()
		newWorld(t, Config{}, r.provider("sso")).refused(name, token, problem.AuthUnavailable)
		if r.keySets.Load() != asked {
			t.Errorf("%s: the keys were asked for", name)
		}
	}
}

// TestTLS: the issuer is who its certificate says, by the roots of the map alone.
func TestTLS(t *testing.T) {
	s := newSigner(t, "k", "ES256")
	r, other := startIssuer(t, s), startIssuer(t, s)
	token := s.token(t, s.header(), r.claims())
	p := r.provider("sso")
	newWorld(t, Config{}, p).accepted("its own CA", token)
	for name, ca := range map[string]string{"the system's": "", "another CA": other.ca} {
		p.CA = ca
		w := newWorld(t, Config{}, p)
		w.refused(name, token, problem.AuthUnavailable)
		if st := w.States()[0]; st.Err == nil || st.Cause() != "its certificate is not trusted" {
			t.Errorf("%s: %q of %v", name, st.Cause(), st.Err)
		}
	}
}

func TestNew(t *testing.T) {
	s := newSigner(t, "k", "ES256")
	r := startIssuer(t, s)
	good := r.provider("sso")
	dir := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	root, err := os.ReadFile(r.ca)
	if err != nil {
		t.Fatal(err)
	}
	change := func(do func(*zone.Provider)) []zone.Provider {
		p := good
		do(&p)
		return []zone.Provider{p}
	}
	for _, c := range []struct {
		name      string
		providers []zone.Provider
		want      string // empty: no error
	}{
		{"good", []zone.Provider{good}, ""},
		{"none", nil, ""},
		{"another kind", []zone.Provider{{Name: "google", Kind: "oidc"}}, ""},
		{"two roots with text between", change(func(p *zone.Provider) { p.CA = file("two.pem", "first\n"+string(root)+"second\n"+string(root)) }), ""},
		{"two of one issuer", append(change(func(p *zone.Provider) { p.Name = "other" }), good), "have one issuer"},
		{"no issuer", change(func(p *zone.Provider) { p.Issuer = "" }), "no name, issuer or audience"},
		{"no audience", change(func(p *zone.Provider) { p.Audience = "" }), "no name, issuer or audience"},
		{"no algorithms", change(func(p *zone.Provider) { p.Algorithms = nil }), "no algorithms"},
		{"no such file", change(func(p *zone.Provider) { p.CA = filepath.Join(dir, "none.pem") }), "no such file"},
		{"an empty file", change(func(p *zone.Provider) { p.CA = file("empty.pem", "") }), "no certificate"},
		{"a malformed certificate", change(func(p *zone.Provider) {
			p.CA = file("bad.pem", string(root)+"-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n")
		}), "malformed"},
		{"a certificate of garbage", change(func(p *zone.Provider) {
			p.CA = file("garbage.pem", "-----BEGIN CERTIFICATE-----\nAQAB\n-----END CERTIFICATE-----\n")
		}), "block 1"},
		{"a key", change(func(p *zone.Provider) {
			p.CA = file("key.pem", string(root)+"-----BEGIN PRIVATE KEY-----\nAQAB\n-----END PRIVATE KEY-----\n")
		}), "certificates only"},
		{"a huge file", change(func(p *zone.Provider) { p.CA = file("huge.pem", strings.Repeat("x", 1<<20+1)) }), "longer than"},
	} {
		_, err := New(Config{Providers: c.providers, Log: newWorld(t, Config{}).Issuers.log})
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
	if _, err := New(Config{}); err == nil {
		t.Error("no log: want an error")
	}
}
