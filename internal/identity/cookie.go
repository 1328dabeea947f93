package identity

import (
	"net/http"
	"net/url"
	"strings"
	"time"

	"sallyport.dev/internal/policy"
)

// CookieName is the cookie of a session. The prefix has the browser itself
// hold it to this host, to TLS and to the whole path.
const CookieName = "__Host-session"

// nextMax bounds where a login returns to.
const nextMax = 1024

// The paths that a login leads to.
const (
	loginPath   = "/auth/login"
	accountPath = "/auth/me"
)

// setCookie hands a session to a browser: until it closes, or with remember
// until the session ends.
func setCookie(w http.ResponseWriter, token string, remember bool, left time.Duration) {
	c := sessionCookie(token)
	if remember {
		c.MaxAge = max(1, int(left/time.Second))
	}
	http.SetCookie(w, c)
}

// byCookie says whether the session of a request came by the cookie. The
// gateway keeps the cookie itself from handlers.
func byCookie(p *policy.Principal) bool { return p.Method == "cookie" }

func clearCookie(w http.ResponseWriter) {
	c := sessionCookie("")
	c.MaxAge = -1
	http.SetCookie(w, c)
}

func sessionCookie(value string) *http.Cookie {
	return &http.Cookie{Name: CookieName, Value: value, Path: "/", Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode}
}

// localPath returns next when it is a path of this very origin, else the
// account page: no scheme, host, backslash or control character, which browsers
// read as something else than it seems, and not back into the login itself.
func localPath(next string) string {
	if len(next) > nextMax || !strings.HasPrefix(next, "/") || strings.HasPrefix(next, "//") {
		return accountPath
	}
	if strings.ContainsFunc(next, func(r rune) bool { return r <= ' ' || r == '\\' || r > '~' }) {
		return accountPath
	}
	u, err := url.Parse(next)
	if err != nil || u.Scheme != "" || u.Host != "" || u.User != nil || u.Fragment != "" {
		return accountPath
	}
	switch u.Path {
	case loginPath, "/auth/register", "/auth/logout":
		return accountPath
	}
	return next
}

// loginURL is the login page, with the way back where there is one: what was
// read, not what was done.
func loginURL(r *http.Request) string {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return loginPath
	}
	next := localPath(r.URL.RequestURI())
	if next == accountPath {
		return loginPath
	}
	return loginPath + "?next=" + url.QueryEscape(next)
}
