package page

import (
	"net/http"
	"net/url"
	"strings"
)

// nextMax bounds where a login returns to.
const nextMax = 1024

// The paths that pages and refusals lead to.
const (
	LoginPath   = "/auth/login"
	AccountPath = "/auth/account"
	StepUpPath  = "/auth/step-up"
)

// LocalPath returns next when it is a path of this very origin, else fallback: no
// scheme, host, backslash or control character, which browsers read as something
// else than it seems, and not back into the login itself.
func LocalPath(next, fallback string) string {
	if len(next) > nextMax || !strings.HasPrefix(next, "/") || strings.HasPrefix(next, "//") {
		return fallback
	}
	if strings.ContainsFunc(next, func(r rune) bool { return r <= ' ' || r == '\\' || r > '~' }) {
		return fallback
	}
	u, err := url.Parse(next)
	if err != nil || u.Scheme != "" || u.Host != "" || u.User != nil || u.Fragment != "" {
		return fallback
	}
	switch u.Path {
	case LoginPath, StepUpPath, "/auth/register", "/auth/logout", "/auth/mfa":
		return fallback
	}
	return next
}

// wayBack is where a visitor was when a request was refused: the page that was
// read, or the one whose form was posted. "" when nothing is known of it.
func wayBack(r *http.Request) string {
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		return LocalPath(r.URL.RequestURI(), "")
	}
	from, err := url.Parse(r.Referer())
	if err != nil || from.Host != r.Host {
		return ""
	}
	return LocalPath(from.RequestURI(), "")
}

// withNext adds the way back to a path, where there is one and it says more than
// the path leads to anyhow.
func withNext(path, next string) string {
	if next == "" || next == AccountPath || next == "/auth/me" {
		return path
	}
	return path + "?next=" + url.QueryEscape(next)
}
