package mail

import (
	"strings"
	"testing"

	"sallyport.dev/internal/obs"
)

func TestParseURL(t *testing.T) {
	for _, c := range []struct {
		text string
		want relay
		mend string // in the error
	}{
		{"smtp://127.0.0.1:1025", relay{host: "127.0.0.1", port: 1025}, ""},
		{"smtp://[::1]:25", relay{host: "::1", port: 25}, ""},
		{"smtp://localhost:25", relay{host: "localhost", port: 25}, ""},
		{"smtps://me:hunter2@mail.example:465", relay{"mail.example", 465, implicit, "me", "hunter2"}, ""},
		{"smtps://me%40shop.example:hunter2%2F%3F%23%3A@mail.example:465", relay{"mail.example", 465, implicit, "me@shop.example", "hunter2/?#:"}, ""},
		{"smtp+starttls://me:hunter2@mail.example:587", relay{"mail.example", 587, startTLS, "me", "hunter2"}, ""},
		{"SMTP+StartTLS://me:hunter2@[2001:db8::1]:587", relay{"2001:db8::1", 587, startTLS, "me", "hunter2"}, ""},
		{"smtp+starttls://mail.example:587", relay{}, "smtp+starttls://USER:PASS"},
		{"smtp+starttls://me@mail.example:587", relay{}, "USER:PASS"},
		{"smtp+starttls://me:hunter2@mail.example", relay{}, "HOST:587"},
		{"smtp+starttls://me:hunter2@mail.example:587/?starttls=never", relay{}, "%-encode"},
		{"smtp+tls://me:hunter2@mail.example:587", relay{}, "smtp+starttls://"},
		{"smtp://me:hunter2@mail.example:587", relay{}, "smtp+starttls://"},
		{"smtp://mail.example:25", relay{}, "smtps://"},
		{"smtp://192.0.2.1:25", relay{}, "smtps://"},
		{"smtp://localhost.example:25", relay{}, "smtps://"},
		{"smtp://me:hunter2@127.0.0.1:25", relay{}, "smtps://"},
		{"smtp://me@127.0.0.1:25", relay{}, "smtps://"},
		{"smtps://mail.example:465", relay{}, "USER:PASS"},
		{"smtps://me@mail.example:465", relay{}, "USER:PASS"},
		{"smtps://:hunter2@mail.example:465", relay{}, "USER:PASS"},
		{"smtps://me:hunter2@mail.example", relay{}, "HOST:465"},
		{"smtps://me:hunter2@:465", relay{}, "HOST:465"},
		{"smtps://me:hunter2@mail.example:0", relay{}, "HOST:465"},
		{"smtps://me:hunter2@mail.example:65536", relay{}, "HOST:465"},
		{"smtps://me:hunter2@mail.example:0465", relay{}, "HOST:465"},
		{"smtps://me:hunter2:465", relay{}, "HOST:465"},
		{"smtps://me:hunter2@mail.example:465/", relay{}, "%-encode"},
		{"smtps://me:hunter2@mail.example:465?ca=x", relay{}, "%-encode"},
		{"smtps://me:hunter2@mail.example:465?", relay{}, "%-encode"},
		{"smtps://me:hunter2@mail.example:465#", relay{}, "%-encode"},
		{"smtps://me:hunter2%0d%0a@mail.example:465", relay{}, "control characters"},
		{"smtps://me:hunter2%zz@mail.example:465", relay{}, "no url"},
		{"smtps:me:hunter2", relay{}, "%-encode"},
		{"SMTPS://me:hunter2@mail.example:465", relay{"mail.example", 465, implicit, "me", "hunter2"}, ""},
		{"https://me:hunter2@mail.example:465", relay{}, "smtps://"},
		{"hunter2", relay{}, "smtps://"},
		{"", relay{}, "smtps://"},
		{"smtps://me:hunter2@mail.example:465" + strings.Repeat("5", maxURL), relay{}, "too long"},
	} {
		got, err := parseURL(c.text)
		if got != c.want || (err == nil) != (c.mend == "") || err != nil && !strings.Contains(err.Error(), c.mend) {
			t.Errorf("parseURL(%q) = %+v, %v; want %+v, %q", c.text, got, err, c.want, c.mend)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("parseURL(%q): the password is shown: %v", c.text, err)
		}
	}
}

func FuzzParseURL(f *testing.F) {
	for _, seed := range []string{"smtp://127.0.0.1:25", "smtps://a:b@c:465", "smtp+starttls://a:b@c:587", "smtps://a:b%40@[::1]:465", "smtp://[::1%25lo]:25", "smtps://a:b@c:d:465"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := parseURL(text)
		switch {
		case err != nil:
			if len(text) > 12 && strings.Contains(err.Error(), text) {
				t.Errorf("parseURL(%q): %v", text, err)
			}
		case r.cover == inClear && (!loopback(r.host) || r.user != "" || r.password != ""):
			t.Errorf("parseURL(%q) = %+v in clear", text, r)
		case r.cover != inClear && (r.user == "" || r.password == ""), r.port < 1, r.port > 65535, r.host == "":
			t.Errorf("parseURL(%q) = %+v", text, r)
		}
	})
}

// FuzzAddress: what is taken is one address on one line, whatever comes.
func FuzzAddress(f *testing.F) {
	for _, seed := range []string{"a@example.org", "a@example.org\r\nRCPT TO:<b@example.org>", "<a@b>", "a@b@c", "\"a b\"@c", "a@[127.0.0.1]", "a@b,c@d"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if checkAddress(text) == nil && (strings.ContainsAny(text, " \r\n\t\x00<>,;:\"") || strings.Count(text, "@") < 1 || domainOf(text) == "") {
			t.Errorf("%q is taken", text)
		}
	})
}

// TestNewRefuses: what the map or the secret says wrong is an error at start.
func TestNewRefuses(t *testing.T) {
	z := testZone()
	z.Identity.Mail = nil
	if _, err := New(Config{Zone: z}); err == nil {
		t.Error("without mail: no error")
	}
	z = testZone()
	z.Identity.Mail.From = "Grüße@shop.example"
	if _, err := New(Config{Zone: z, URL: "smtp://127.0.0.1:25"}); err == nil || !strings.Contains(err.Error(), "identity.mail.from") {
		t.Errorf("from: %v", err)
	}
	_, err := New(Config{Zone: testZone(), URL: obs.Secret("smtp://me:hunter2@mail.example:25")})
	if err == nil || !strings.Contains(err.Error(), "identity.mail.smtp") || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("url: %v", err)
	}
	if _, err := New(Config{Zone: testZone(), URL: "smtp://127.0.0.1:25"}); err != nil { // control
		t.Error(err)
	}
}
