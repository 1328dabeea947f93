package e2e

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// device is one that waits for its user.
type device struct {
	s    *programsSite
	code string
	User string `json:"user_code"`
	Page string `json:"verification_uri"`
}

// device asks for a code as the television does.
func (s *programsSite) device() device {
	s.t.Helper()
	a := s.do(call{method: "POST", path: "/oauth/device_authorization", header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}},
		body: url.Values{"client_id": {"tv"}, "scope": {"openid things.read"}}.Encode()})
	doc := fieldsOf(s.t, a.Body)
	d := device{s: s}
	d.code, _ = doc["device_code"].(string)
	d.User, _ = doc["user_code"].(string)
	d.Page, _ = doc["verification_uri"].(string)
	if a.Status != 200 || d.code == "" || d.User == "" || !strings.HasPrefix(d.Page, s.url) {
		s.t.Fatalf("device: %d %s", a.Status, a.Body)
	}
	return d
}

// got is what the device is told when it asks; a token is tried.
func (d device) got() string {
	d.s.t.Helper()
	a := d.s.do(call{method: "POST", path: "/oauth/token", header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}},
		body: url.Values{"client_id": {"tv"}, "device_code": {d.code}, "grant_type": {"urn:ietf:params:oauth:grant-type:device_code"}}.Encode()})
	doc := fieldsOf(d.s.t, a.Body)
	if token, ok := doc["access_token"].(string); ok {
		if visit := d.s.do(call{path: "/mine", bearer: token}); visit.Status != 200 {
			d.s.t.Errorf("the token of a device: %d %s", visit.Status, visit.reason())
		}
		return "token"
	}
	says, _ := doc["error"].(string)
	return says
}

// walkDevice connects a device: the code is typed, the question answered.
func walkDevice(t *testing.T, c *chrome, s *programsSite) {
	cal := s.addUser("cal@shop.example")
	b := s.tab(t, c)
	tv := s.device()
	b.open(200, tv.Page)
	b.at("/auth/login?next=%2Foauth%2Fdevice", "Log in")
	b.arrives(200, "/oauth/device", chromedp.SendKeys(chromedp.ID("email"), cal.Email), chromedp.SendKeys(chromedp.ID("password"), cal.Password+"\n"))
	b.at("/oauth/device", "Connect a device")
	s.letter(cal.Email, "New login")

	b.submit(400, "button.main", "user_code", "BCDF-GHJK")
	b.at("/oauth/device", "Connect a device")
	b.says("[role=alert]", "Check the code")
	if got := eval[string](b, "document.activeElement.id"); got != "user_code" {
		t.Errorf("after a wrong code the focus is on %q", got)
	}
	b.submit(200, "button.main", "user_code", " "+strings.ToLower(strings.ReplaceAll(tv.User, "-", " "))) // as people type
	b.asks("Connect Shop on TV with your account?")
	b.says(".notice", "Only continue if you started this")
	b.says(".notice", "127.0.0.1")
	b.submit(200, deny)
	b.asks("Not connected")
	if got := tv.got(); got != "access_denied" {
		t.Errorf("after a no the device is told %q", got)
	}

	tv = s.device()
	b.open(200, tv.Page+"?user_code="+tv.User) // filled in, and nothing more
	b.asks("Connect a device")
	if got := eval[string](b, "document.getElementById('user_code').value"); got != tv.User {
		t.Errorf("the code in the address is filled in as %q", got)
	}
	b.submit(200, "button.main")
	b.asks("Connect Shop on TV with your account?")
	b.submit(200, allow)
	b.asks("Connected")
	if got := tv.got(); got != "token" {
		t.Errorf("after a yes the device is told %q", got)
	}
	b.open(200, tv.Page)
	b.submit(400, "button.main", "user_code", tv.User) // once
	b.says("[role=alert]", "Check the code")

	b.open(200, "/auth/account")
	b.says("#grants .name", "Shop on TV")

	b.speaks("de")
	tv = s.device()
	b.open(200, tv.Page)
	b.asks("Gerät verbinden")
	b.submit(200, "button.main", "user_code", tv.User)
	b.asks("Shop on TV mit Ihrem Konto verbinden?")
}

// walkLateDevice: a code that has ended by the time of the answer, and a user who
// guesses.
func walkLateDevice(t *testing.T, c *chrome, s *programsSite) {
	s.must("client", "add", "kiosk", "--title", "Kiosk", "--public", "--grant", "device_code", "--scope", "openid")
	dot := s.addUser("dot@shop.example")
	b := s.tab(t, c)
	b.enter(dot)
	a := s.do(call{method: "POST", path: "/oauth/device_authorization", header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}},
		body: url.Values{"client_id": {"kiosk"}, "scope": {"openid"}}.Encode()})
	code, _ := fieldsOf(t, a.Body)["user_code"].(string)
	b.open(200, "/oauth/device")
	b.submit(200, "button.main", "user_code", code)
	b.asks("Connect Kiosk with your account?")
	s.must("client", "remove", "kiosk") // which ends its codes, as time would
	b.submit(410, allow)
	b.at("/oauth/consent", "This step has ended")
	b.open(200, "/oauth/device")
	b.submit(400, "button.main", "user_code", code)
	b.at("/oauth/device", "Connect a device")
	b.says("[role=alert]", "Have your device show a new one")
	for range 2 {
		b.submit(400, "button.main", "user_code", "BCDF-GHJK")
	}
	b.speaks("de")
	b.submit(400, "button.main", "user_code", "BCDF-GHJK")
	b.at("/oauth/device", "Gerät verbinden")
	b.says("[role=alert]", "Lassen Sie Ihr Gerät einen neuen zeigen")
	b.speaks("en")
	b.submit(429, "button.main", "user_code", "BCDF-GHJK")
	b.at("/oauth/device", "Connect a device")
	b.says("[role=alert]", "Too many attempts")
}
