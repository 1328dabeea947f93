package e2e

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/hotp"

	"sallyport.dev/internal/mail/mailtest"
)

// accountsMap is a zone with all that an account can have. Passkeys want the name
// localhost: an address is nobody's RP ID.
const accountsMap = `
zone: shop.example
journal: {size: 64MiB}
listeners:
  public: {address: "@public@", hosts: [localhost], limits: {header_time: 1min}}
  admin: {address: "@admin@"}
  control: {address: "@control@"}
identity:
  url: https://localhost:@public:port@
  registration: open
  mail: {smtp: {file: smtp.url}, from: mail@shop.example}
services:
  plain:
    upstream: http://@plain@
    routes:
      GET /mine: user
      GET /vault: {allow: user, mfa: true}
      GET /things: {allow: [key, user], scopes: [things.read]}
      GET /other: {allow: [key, user], scopes: [other.read]}
`

// accountSite is a zone whose accounts are walked through, and its post office.
type accountSite struct {
	*zoned
	post *mailtest.Server
	url  string
}

// newAccountSite makes a zone that is not served yet.
func newAccountSite(t *testing.T, text string) *accountSite {
	t.Helper()
	s := &accountSite{post: mailtest.Start(t)}
	s.zoned = newZone(t, text, map[string]string{"plain": startUpstream(t, nil).address})
	s.write("smtp.url", s.post.URL()+"\n")
	return s
}

func startAccountSite(t *testing.T, text string) *accountSite {
	t.Helper()
	s := newAccountSite(t, text)
	s.serve()
	return s
}

// serve starts the zone; only then its address is for good.
func (s *accountSite) serve() {
	s.t.Helper()
	s.start()
	s.url = "https://localhost:" + portOf(s.address["public"])
}

// of returns the site for use in a subtest.
func (s *accountSite) of(t *testing.T) *accountSite {
	sub := *s
	sub.zoned = s.in(t)
	return &sub
}

// link waits for a letter to an address and returns its link to a path.
func (s *accountSite) link(to, subject, path string) string {
	s.t.Helper()
	return s.letter(to, subject).Link(s.t, path).String()
}

// letter waits for the next letter to an address; its subject has to say what it
// is about. It has a text and an HTML, neither of which loads anything.
func (s *accountSite) letter(to, subject string) mailtest.Message {
	s.t.Helper()
	m := s.post.NextTo(s.t, to, subject)
	for _, link := range m.Links() {
		if u, err := url.Parse(link); err != nil || u.Scheme+"://"+u.Host != s.url {
			s.t.Errorf("the letter %q links to %s", m.Subject, link)
		}
	}
	if m.Text == "" || m.HTML == "" || strings.Contains(m.HTML, "<img") || strings.Contains(m.HTML, "<script") || strings.Contains(m.HTML, "<link") {
		s.t.Errorf("the letter %q:\n%s\n%s", m.Subject, m.Text, m.HTML)
	}
	return m
}

// letters are the subjects of all that came to an address so far.
func (s *accountSite) letters(to string) (subjects []string) {
	for _, m := range s.post.Messages() {
		if m.To[0] == to {
			subjects = append(subjects, m.Subject)
		}
	}
	return subjects
}

// app is an authenticator app of a user. A zone takes the code of each half minute
// once, and those of the one before and after the present: so each code here is of
// a step later than the last, and three come without waiting.
type app struct {
	t      testing.TB
	secret string
	last   int64
}

func newApp(t testing.TB, secret string) *app {
	return &app{t: t, secret: strings.ReplaceAll(secret, " ", "")}
}

// takes gives a code to who tries it, and the next when it has become too old
// meanwhile; any other refusal fails the test.
func (a *app) takes(try func(code string) bool) {
	a.t.Helper()
	const step = 30 // seconds
	for !try(a.code()) {
		if time.Now().Unix()/step <= a.last+1 {
			a.t.Fatal("a code that is good was refused")
		}
	}
}

func (a *app) code() string {
	a.t.Helper()
	const step = 30 // seconds
	until(a.t, "the code is not too old when the zone looks", func() bool { return time.Now().Unix()%step != step-1 })
	a.last = max(a.last+1, time.Now().Unix()/step-1)
	return a.at(a.last)
}

// again is the code that was given last.
func (a *app) again() string { return a.at(a.last) }

func (a *app) at(step int64) string {
	a.t.Helper()
	code, err := hotp.GenerateCodeCustom(a.secret, uint64(step), hotp.ValidateOpts{Digits: otp.DigitsSix, Algorithm: otp.AlgorithmSHA1})
	if err != nil {
		a.t.Fatal(err)
	}
	return code
}

// bootstrap makes the token of the first administrator, and returns where it is taken.
func (s *accountSite) bootstrap() string {
	s.t.Helper()
	out := s.must("user", "bootstrap")
	for _, word := range strings.Fields(out) {
		if strings.HasPrefix(word, s.url+"/auth/bootstrap?token=") {
			return word
		}
	}
	s.t.Fatalf("no link in %q", out)
	return ""
}
