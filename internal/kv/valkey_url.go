package kv

import (
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// address is where a Valkey is and how it knows us.
type address struct {
	network  string // tcp or unix
	addr     string // host:port, or the path of a socket
	host     string // of tcp
	tls      bool
	user     string
	password string
	db       int
}

const (
	maxURL    = 4 << 10
	maxDB     = 1 << 14
	plainPort = "6379"
)

// parseURL reads the url of a Valkey:
//
//	redis://[[USER]:PASSWORD@]HOST[:PORT][/DB]    only of this host: loopback
//	rediss://[[USER]:PASSWORD@]HOST[:PORT][/DB]   over TLS
//	unix://[[USER]:PASSWORD@]/PATH[?db=DB]        a socket
//
// valkey and valkeys are other names of redis and rediss. Nothing else is
// understood; what is not understood is an error. No error shows a part of the
// url: it has a password in it, and maybe not in the place of one.
func parseURL(text string) (address, error) {
	if len(text) > maxURL {
		return address{}, errors.New("is too long")
	}
	u, err := url.Parse(text)
	if err != nil { // its text has the url in it
		return address{}, errors.New("is no url; it looks like rediss://USER:PASSWORD@HOST:6379/0 (%-encode what stands in the password)")
	}
	var a address
	a.user = u.User.Username()
	a.password, _ = u.User.Password()
	if u.Fragment != "" || u.Opaque != "" || strings.Contains(text, "#") {
		return address{}, errors.New("has more than user, host, port and database; %-encode # and ? in the password")
	}
	if a.user != "" && a.password == "" {
		return address{}, errors.New("names a user and no password; write :PASSWORD@ for a password alone")
	}
	db := strings.TrimPrefix(u.Path, "/")
	switch u.Scheme {
	case "unix":
		if u.Host != "" || len(u.Path) < 2 {
			return address{}, errors.New("names no socket; write unix:///PATH")
		}
		a.network, a.addr = "unix", u.Path
		query, err := url.ParseQuery(u.RawQuery)
		if err != nil || len(query["db"]) != len(query) || len(query["db"]) > 1 {
			return address{}, errors.New("of a socket takes one parameter, db")
		}
		db = query.Get("db")
	case "redis", "valkey", "rediss", "valkeys":
		a.network, a.tls = "tcp", strings.HasSuffix(u.Scheme, "s") && u.Scheme != "redis"
		if err := a.setHost(u); err != nil {
			return address{}, err
		}
	default:
		return address{}, errors.New("has an unknown scheme; redis, rediss, valkey, valkeys and unix are known")
	}
	if db != "" {
		if a.db, err = strconv.Atoi(db); err != nil || a.db < 0 || a.db > maxDB || strconv.Itoa(a.db) != db {
			return address{}, errors.New("has a database that is no number; write /0")
		}
	}
	return a, nil
}

func (a *address) setHost(u *url.URL) error {
	a.host = u.Hostname()
	port := u.Port()
	if port == "" {
		port = plainPort
	}
	// USER:PASSWORD:PORT, where the host was forgotten, has a host of two parts.
	_, notIP := netip.ParseAddr(a.host)
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 || a.host == "" || strings.Contains(a.host, ":") && notIP != nil {
		return errors.New("names no host and port; write HOST:6379")
	}
	if u.RawQuery != "" || u.ForceQuery {
		return errors.New("has parameters; they are not understood here (%-encode ? in the password)")
	}
	if !a.tls && !loopback(a.host) {
		return errors.New("would send what it holds in clear to another host; write rediss:// (TLS), or use a Valkey of this host")
	}
	a.addr = net.JoinHostPort(a.host, port)
	return nil
}

func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback() || strings.EqualFold(host, "localhost")
}

// tlsConfig returns how to speak to the address: nil when in clear.
func (a *address) tlsConfig(base *tls.Config) (*tls.Config, error) {
	if !a.tls {
		return nil, nil //nolint:nilnil // no TLS is what the library takes nil for
	}
	if base == nil {
		base = &tls.Config{} // #nosec G402 -- MinVersion is set below
	}
	if base.InsecureSkipVerify {
		return nil, errors.New("the server's certificate must be verified")
	}
	c := base.Clone()
	c.MinVersion = max(c.MinVersion, tls.VersionTLS12)
	if c.ServerName == "" {
		c.ServerName = a.host
	}
	return c, nil
}
