package identity

import (
	"crypto/rand"
	"encoding/base64"
	"net/http"
	"time"

	"sallyport.dev/internal/policy"
)

// The cookies of the account service. The prefix has the browser itself hold them
// to this host, to TLS and to the whole path.
const (
	CookieName   = "__Host-session" // opens the session
	FlowCookie   = "__Host-flow"    // binds what is under way to the browser; opens nothing
	DeviceCookie = "__Host-device"  // names a device on which an account has logged in; opens nothing
)

func cookie(name, value string) *http.Cookie {
	return &http.Cookie{Name: name, Value: value, Path: "/", Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode}
}

func setFor(w http.ResponseWriter, name, value string, life time.Duration) {
	c := cookie(name, value)
	c.MaxAge = max(1, int(life/time.Second))
	http.SetCookie(w, c)
}

func clearNamed(w http.ResponseWriter, name string) {
	c := cookie(name, "")
	c.MaxAge = -1
	http.SetCookie(w, c)
}

// setCookie hands a session to a browser: until it closes, or with remember
// until the session ends.
func setCookie(w http.ResponseWriter, token string, remember bool, left time.Duration) {
	if remember {
		setFor(w, CookieName, token, left)
		return
	}
	http.SetCookie(w, cookie(CookieName, token))
}

func clearCookie(w http.ResponseWriter) { clearNamed(w, CookieName) }

// byCookie says whether the session of a request came by the cookie. The
// gateway keeps the cookie itself from handlers.
func byCookie(p *policy.Principal) bool { return p.Method == "cookie" }

// browserBytes are random in the cookie that binds flows to a browser.
const browserBytes = 32

// browserOf returns what the browser of a request is known by; empty for none.
func browserOf(r *http.Request) string {
	c, err := r.Cookie(FlowCookie)
	if err != nil || len(c.Value) != base64.RawURLEncoding.EncodedLen(browserBytes) {
		return ""
	}
	return c.Value
}

// newBrowser names a browser that has no name yet.
func newBrowser() string {
	random := make([]byte, browserBytes)
	_, _ = rand.Read(random) // crypto/rand.Read never fails (Go 1.24)
	return base64.RawURLEncoding.EncodeToString(random)
}

// deviceOf returns what the cookie of a known device holds; empty for none.
func deviceOf(r *http.Request) string {
	c, err := r.Cookie(DeviceCookie)
	if err != nil {
		return ""
	}
	return c.Value
}
