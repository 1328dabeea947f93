package gateway

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"testing"

	"sallyport.dev/internal/policy"
)

func TestStrictTransportSecurity(t *testing.T) {
	for _, c := range []struct {
		host string
		tls  bool
		set  string // by the service
		want string
	}{
		{"shop.example", true, "", "max-age=31536000"},
		{"shop.example", true, "max-age=5", "max-age=5"},
		{"shop.example", false, "max-age=5", ""},
		{"localhost", true, "max-age=5", ""},
		{"app.localhost", true, "", ""},
		{"127.0.0.1", true, "max-age=5", ""},
		{"::1", true, "max-age=5", ""},
		{"2001:db8::1", true, "", ""},
		{"", true, "max-age=5", ""},
		{"10.example", true, "", "max-age=31536000"},
		{"xn--p1ai", true, "", "max-age=31536000"},
	} {
		tr := &trip{r: httptest.NewRequest("GET", "/", nil), host: c.host}
		if tr.r.TLS = nil; c.tls {
			tr.r.TLS = &tls.ConnectionState{}
		}
		h := http.Header{}
		if c.set != "" {
			h.Set("Strict-Transport-Security", c.set)
		}
		tr.dress(h)
		if got := h.Get("Strict-Transport-Security"); got != c.want {
			t.Errorf("host %q, TLS %v, service says %q: got %q, want %q", c.host, c.tls, c.set, got, c.want)
		}
	}
}

func TestDress(t *testing.T) {
	alice := &policy.Principal{Kind: policy.User, Subject: "alice"}
	nobody := &policy.Principal{Kind: policy.Anonymous, Subject: policy.AnonymousSubject}
	for _, c := range []struct {
		name      string
		principal *policy.Principal
		set       http.Header
		extra     http.Header
		field     string
		want      []string
	}{
		{"no guess of scripts", nobody, nil, nil, "X-Content-Type-Options", []string{"nosniff"}},
		{"no frames", nobody, nil, nil, "X-Frame-Options", []string{"DENY"}},
		{"frames that the service wants", nobody, http.Header{"X-Frame-Options": {"SAMEORIGIN"}}, nil, "X-Frame-Options", []string{"SAMEORIGIN"}},
		{"no referrer", nobody, nil, nil, "Referrer-Policy", []string{"strict-origin-when-cross-origin"}},
		{"no embedding", nobody, nil, nil, "Cross-Origin-Resource-Policy", []string{"same-origin"}},
		{"embedding that the service wants", nobody, http.Header{"Cross-Origin-Resource-Policy": {"cross-origin"}}, nil, "Cross-Origin-Resource-Policy", []string{"cross-origin"}},
		{"a user's answer is not cached", alice, nil, nil, "Cache-Control", []string{"no-store"}},
		{"unless the service says so", alice, http.Header{"Cache-Control": {"private"}}, nil, "Cache-Control", []string{"private"}},
		{"anybody's may be", nobody, nil, nil, "Cache-Control", nil},
		{"before anybody is known", nil, nil, nil, "Cache-Control", nil},
		{"what stages say goes along", nobody, nil, http.Header{"Retry-After": {"7"}}, "Retry-After", []string{"7"}},
		{"and above what the service says", nobody, http.Header{"Ratelimit": {"fake"}}, http.Header{"Ratelimit": {"1"}}, "Ratelimit", []string{"1"}},
		{"but for cookies", nobody, http.Header{"Set-Cookie": {"a=1"}}, http.Header{"Set-Cookie": {"b=2"}}, "Set-Cookie", []string{"a=1", "b=2"}},
		{"the id is ours", nobody, http.Header{"X-Correlation-Id": {"other"}}, nil, "X-Correlation-Id", []string{testCorrelation}},
	} {
		tr := &trip{r: httptest.NewRequest("GET", "/", nil), host: "shop.example", principal: c.principal, extra: c.extra}
		tr.CorrelationID = testCorrelation
		h := c.set.Clone()
		if h == nil {
			h = http.Header{}
		}
		tr.dress(h)
		got := h[c.field]
		if len(got) != len(c.want) {
			t.Errorf("%s: %s = %q, want %q", c.name, c.field, got, c.want)
			continue
		}
		for i := range got {
			if got[i] != c.want[i] {
				t.Errorf("%s: %s = %q, want %q", c.name, c.field, got, c.want)
			}
		}
	}
}

// The shared values stay what they are, whatever is done with an answer's fields.
func TestDefaultsAreShared(t *testing.T) {
	tr := &trip{r: httptest.NewRequest("GET", "/", nil)}
	h := http.Header{}
	tr.dress(h)
	h.Add("X-Content-Type-Options", "sniff")
	next := http.Header{}
	tr.dress(next)
	if got := next["X-Content-Type-Options"]; len(got) != 1 || got[0] != "nosniff" {
		t.Errorf("the next answer has %q", got)
	}
}
