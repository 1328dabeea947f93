package identity

import (
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// sessionView is a session as its owner reads it.
type sessionView struct {
	ID      string
	Device  string
	Client  string
	Current bool
	Used    string // how long ago
	UsedAt  string // exactly
	Since   string
	SinceAt string
}

func (id *Identity) sessionViews(list []Session, current string) []sessionView {
	now := id.clock()
	views := make([]sessionView, 0, len(list))
	for _, s := range list {
		views = append(views, sessionView{
			ID: s.ID, Device: device(s.Agent), Client: clientText(s), Current: s.ID == current,
			Used: ago(now.Sub(s.LastUsed)), UsedAt: stamp(s.LastUsed),
			Since: s.Created.UTC().Format("2 January 2006"), SinceAt: stamp(s.Created),
		})
	}
	return views
}

// device names a browser by what it says of itself. The order matters: most
// browsers also name those they descend from.
func device(agent string) string {
	browser := named(agent, "Unknown browser", [][2]string{
		{"Edg/", "Edge"}, {"OPR/", "Opera"}, {"SamsungBrowser/", "Samsung Internet"}, {"Firefox/", "Firefox"}, {"FxiOS/", "Firefox"},
		{"Chrome/", "Chrome"}, {"CriOS/", "Chrome"}, {"Safari/", "Safari"}, {"curl/", "curl"}, {"Go-http-client/", "A Go program"},
		{"python-", "A Python program"}, {"node", "A Node program"},
	})
	system := named(agent, "", [][2]string{
		{"Android", "Android"}, {"iPhone", "iPhone"}, {"iPad", "iPad"}, {"Windows", "Windows"},
		{"Macintosh", "Mac"}, {"CrOS", "ChromeOS"}, {"Linux", "Linux"},
	})
	switch {
	case agent == "":
		return "Unknown device"
	case system == "":
		return browser
	}
	return browser + " on " + system
}

func named(text, otherwise string, names [][2]string) string {
	for _, n := range names {
		if strings.Contains(text, n[0]) {
			return n[1]
		}
	}
	return otherwise
}

// ago says a past span in one unit, as people do.
func ago(d time.Duration) string {
	switch {
	case d < time.Minute:
		return "just now"
	case d < time.Hour:
		return count(int(d/time.Minute), "minute") + " ago"
	case d < 24*time.Hour:
		return count(int(d/time.Hour), "hour") + " ago"
	}
	return count(int(d/(24*time.Hour)), "day") + " ago"
}

// span says how long to wait: seconds up to a minute and a half, else minutes.
func span(seconds int) string {
	if seconds <= 90 {
		return count(max(1, seconds), "second")
	}
	return count((seconds+59)/60, "minute")
}

func count(n int, unit string) string {
	if n == 1 {
		return "1 " + unit
	}
	return fmt.Sprintf("%d %ss", n, unit)
}

// sentence makes a public detail, which problem documents hold in lower case,
// into one for a page.
func sentence(s string) string {
	if s == "" || strings.HasSuffix(s, ".") {
		return capital(s)
	}
	return capital(s) + "."
}

func capital(s string) string {
	first, n := utf8.DecodeRuneInString(s)
	if n == 0 {
		return s
	}
	return string(unicode.ToUpper(first)) + s[n:]
}

// typed is what someone meant to type into the field of an address: phones
// append a space to a completed word.
func typed(email string) string { return strings.TrimSpace(email) }
