package mail

import (
	"errors"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// relay is the SMTP server that takes our letters, and how it knows us.
type relay struct {
	host     string
	port     int
	cover    cover
	user     string
	password string
}

// cover is how a conversation is kept from others.
type cover uint8

const (
	inClear  cover = iota // it does not leave this host
	implicit              // TLS from the first byte (RFC 8314 section 3.3)
	startTLS              // TLS before anything of ours is said, or nothing is (RFC 3207)
)

const maxURL = 4 << 10

// parseURL reads what smtp.url holds:
//
//	smtp://HOST:PORT                      in clear, only of this host: loopback
//	smtps://USER:PASS@HOST:PORT           over TLS from the first byte
//	smtp+starttls://USER:PASS@HOST:PORT   over TLS that STARTTLS begins, never without
//
// Nothing else is understood; what is not understood is an error. No error shows
// a part of the url: it has a password in it, and maybe not in the place of one.
func parseURL(text string) (relay, error) {
	if len(text) > maxURL {
		return relay{}, errors.New("is too long")
	}
	u, err := url.Parse(text)
	if err != nil { // its text has the url in it
		return relay{}, errors.New("is no url; it looks like smtps://USER:PASS@HOST:465 (%-encode what stands in the password)")
	}
	var r relay
	switch u.Scheme {
	case "smtp":
	case "smtps":
		r.cover = implicit
	case "smtp+starttls":
		r.cover = startTLS
	default:
		return relay{}, errors.New("has an unknown scheme; write smtps://USER:PASS@HOST:465, smtp+starttls://USER:PASS@HOST:587, or smtp://HOST:PORT for a server of this host")
	}
	if u.Path != "" || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || u.Opaque != "" || strings.Contains(text, "#") {
		return relay{}, errors.New("has more than user, password, host and port; %-encode / ? and # in the password")
	}
	r.host = u.Hostname()
	_, notIP := netip.ParseAddr(r.host)
	if r.port, err = strconv.Atoi(u.Port()); err != nil || r.port < 1 || r.port > 65535 || strconv.Itoa(r.port) != u.Port() || r.host == "" ||
		strings.Contains(r.host, ":") && notIP != nil || strings.ContainsFunc(r.host, func(c rune) bool { return c <= ' ' || c > '~' }) {
		return relay{}, errors.New("names no host and port; write HOST:465, or HOST:587 with smtp+starttls://")
	}
	r.user = u.User.Username()
	r.password, _ = u.User.Password()
	switch {
	case r.cover == inClear && u.User != nil:
		return relay{}, errors.New("would send a password in clear; write smtps:// (TLS), or smtp+starttls:// (port 587)")
	case r.cover == inClear && !loopback(r.host):
		return relay{}, errors.New("would send letters in clear to another host; write smtps://USER:PASS@HOST:465 (TLS) or smtp+starttls://USER:PASS@HOST:587, or use a mail server of this host")
	case r.cover != inClear && (r.user == "" || r.password == ""):
		return relay{}, errors.New("names no user and password; write " + strings.ToLower(u.Scheme) + "://USER:PASS@HOST:PORT")
	case strings.ContainsFunc(r.user+r.password, func(c rune) bool { return c < ' ' || c == 0x7f }):
		return relay{}, errors.New("has control characters in user or password")
	}
	return r, nil
}

func (r *relay) address() string { return net.JoinHostPort(r.host, strconv.Itoa(r.port)) }

func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback() || strings.EqualFold(host, "localhost")
}
