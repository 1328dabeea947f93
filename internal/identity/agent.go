package identity

import (
	"net/http"
	"strings"
	"unicode/utf8"
)

// agentMax bounds what is kept of User-Agent.
const agentMax = 256

// agentOf returns the browser's own words as printable text, cut to agentMax bytes.
func agentOf(r *http.Request) string {
	s := strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f || c == utf8.RuneError {
			return -1
		}
		return c
	}, r.UserAgent())
	if len(s) <= agentMax {
		return s
	}
	return strings.ToValidUTF8(s[:agentMax], "")
}

// device names a browser by what it says of itself; empty when that says nothing.
// The order matters: most browsers also name those they descend from.
func device(agent string) string {
	browser := firstOf(agent, [][2]string{
		{"Edg/", "Edge"}, {"OPR/", "Opera"}, {"SamsungBrowser/", "Samsung Internet"}, {"Firefox/", "Firefox"}, {"FxiOS/", "Firefox"},
		{"Chrome/", "Chrome"}, {"CriOS/", "Chrome"}, {"Safari/", "Safari"}, {"curl/", "curl"}, {"Go-http-client/", "Go"},
		{"python-", "Python"}, {"node", "Node"},
	})
	system := firstOf(agent, [][2]string{
		{"Android", "Android"}, {"iPhone", "iPhone"}, {"iPad", "iPad"}, {"Windows", "Windows"},
		{"Macintosh", "Mac"}, {"CrOS", "ChromeOS"}, {"Linux", "Linux"},
	})
	if browser == "" || system == "" {
		return browser + system
	}
	return browser + ", " + system // of names only: it reads in every language
}

func firstOf(text string, names [][2]string) string {
	for _, n := range names {
		if strings.Contains(text, n[0]) {
			return n[1]
		}
	}
	return ""
}

// typed is what someone meant to type into the field of an address: phones
// append a space to a completed word.
func typed(email string) string { return strings.TrimSpace(email) }
