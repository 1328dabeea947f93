package doctor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"sallyport.dev/zone"
)

// port is an address that the zone listens on.
type port struct {
	name, address string
	listener      *zone.Listener // nil: admin or control
}

// ports checks the addresses of the map: that they are free, or that the running
// zone answers there with a certificate that names its hosts.
func (e *examination) ports(ctx context.Context) {
	if e.Zone == nil {
		return // said by the check of the map
	}
	var list []port
	for _, l := range e.Zone.Listeners {
		list = append(list, port{"listener " + l.Name, l.Address, l})
	}
	list = append(list, port{"admin", e.Zone.Admin, nil})
	if e.Zone.Control != "" {
		list = append(list, port{"control", e.Zone.Control, nil})
	}
	for _, p := range list {
		if e.Running != nil {
			e.answers(ctx, p)
		} else {
			e.free(ctx, p)
		}
	}
	e.reached("admin", e.Zone.Admin, "without a login")
	if e.Zone.Control != "" {
		e.reached("control", e.Zone.Control, "")
	}
}

// reached tells who can reach a listener of the zone's own.
func (e *examination) reached(name, address, open string) {
	name += " reach"
	switch {
	case loopbackOnly(address):
		e.ok(name, "%s: this host only", address)
	case open != "":
		e.warn(name, "listeners: {admin: {address: \"127.0.0.1:8440\"}}", "%s: other hosts can reach it %s", address, open)
	default:
		e.ok(name, "%s: other hosts can reach it; it asks for an identity of the zone", address)
	}
}

// free tries to bind an address.
func (e *examination) free(ctx context.Context, p port) {
	if e.Host.Listen == nil {
		e.unknown(p.name, "", "%s was not tried", p.address)
		return
	}
	if owner, err := statBy(os.Stat, e.Data); err == nil && e.Host.UID == 0 && owner.uid != 0 && e.privileged(p.address) {
		e.unknown(p.name, "AmbientCapabilities=CAP_NET_BIND_SERVICE in the unit of the zone", "%s is a privileged port, and this is root while the zone runs as uid %d", p.address, owner.uid)
		return
	}
	l, err := e.Host.Listen(ctx, p.address)
	switch {
	case err == nil:
		_ = l.Close() // nothing was accepted
		e.ok(p.name, "%s is free", p.address)
	case errors.Is(err, syscall.EADDRINUSE):
		who := e.listening(p.address)
		if pid := e.holder(filepath.Join(e.Data, lockName)); pid != 0 && strings.HasPrefix(who, "pid "+strconv.Itoa(pid)+" ") {
			e.unknown(p.name, "", "%s is taken by %s, which has the data folder: this zone, that does not answer", p.address, who)
			return
		}
		if who == "" {
			who = "a process of another user"
		}
		e.fail(p.name, "end that process, or write another address", "%s is taken by %s", p.address, who)
	case errors.Is(err, syscall.EACCES):
		e.fail(p.name, "AmbientCapabilities=CAP_NET_BIND_SERVICE in the unit of the zone, `setcap cap_net_bind_service=+ep` on the binary, or a port from 1024 on", "%s is a privileged port: this user may not listen there", p.address)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		e.fail(p.name, "write an address of this host, or only the port", "%s: this host does not have the address", p.address)
	default:
		e.fail(p.name, "write another address", "%s: %v", p.address, err)
	}
}

// privileged says whether a port needs a capability.
func (e *examination) privileged(address string) bool {
	_, text, _ := net.SplitHostPort(address)
	n, err := strconv.Atoi(text)
	first := 1024
	if e.Host.ReadFile != nil {
		if b, err := e.Host.ReadFile("/proc/sys/net/ipv4/ip_unprivileged_port_start"); err == nil {
			if v, err := strconv.Atoi(strings.TrimSpace(string(b))); err == nil {
				first = v
			}
		}
	}
	return err == nil && n > 0 && n < first
}

// answers connects to a listener of the running zone.
func (e *examination) answers(ctx context.Context, p port) {
	if e.Host.Dial == nil {
		e.unknown(p.name, "", "%s was not tried", p.address)
		return
	}
	address := p.address
	if p.listener != nil {
		if actual := e.Running.Listeners[p.listener.Name]; actual != "" {
			address = actual // port 0 of the map is any
		}
	}
	ctx, cancel := context.WithTimeout(ctx, 2*e.Host.dialTime())
	defer cancel()
	conn, err := e.Host.Dial(ctx, "tcp", dialable(address))
	if err != nil {
		e.fail(p.name, "see `sallyport status` and the zone's log; is this its map?", "%s takes no connection although the zone runs: %v", address, err)
		return
	}
	defer func() { _ = conn.Close() }() // nothing was asked
	if p.listener == nil {
		e.ok(p.name, "%s takes connections", address)
		return
	}
	e.handshake(ctx, p, address, conn)
}

// handshake looks at the certificate of a listener. It is judged below and not by
// the handshake, so that what is wrong with it can be said.
func (e *examination) handshake(ctx context.Context, p port, address string, conn net.Conn) {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}} // #nosec G402 -- nothing is sent; the chain is judged below
	for _, host := range p.listener.Hosts {
		if _, err := netip.ParseAddr(host); err != nil {
			cfg.ServerName = host
			break
		}
	}
	c := tls.Client(conn, cfg)
	if err := c.HandshakeContext(ctx); err != nil {
		e.fail(p.name, "see the zone's log; is another program there?", "%s does not speak TLS: %v", address, err)
		return
	}
	chain := c.ConnectionState().PeerCertificates
	leaf := chain[0]
	for _, host := range p.listener.Hosts {
		if leaf.VerifyHostname(host) != nil && (p.listener.Certificate.Kind == zone.CertificateInternal || !local(host)) {
			e.fail(p.name, "a certificate for all `hosts` of the listener; is another program there?", "%s has a certificate that does not name the host %s", address, host)
			return
		}
	}
	options := x509.VerifyOptions{CurrentTime: e.Host.Now(), Intermediates: x509.NewCertPool()}
	for _, c := range chain[1:] {
		options.Intermediates.AddCert(c)
	}
	if p.listener.Certificate.Kind == zone.CertificateInternal {
		root, err := e.root()
		if err != nil || root == nil {
			e.unknown(p.name, "", "%s takes connections; %s cannot be read to judge its certificate", address, filepath.Join(e.Data, rootCertName))
			return
		}
		options.Roots = x509.NewCertPool()
		options.Roots.AddCert(root)
	}
	var authority x509.UnknownAuthorityError
	switch _, err := leaf.Verify(options); {
	case errors.As(err, &authority) && p.listener.Certificate.Kind == zone.CertificateInternal:
		e.fail(p.name, "is another zone or program there? see `sallyport status`", "%s has a certificate that is not of this zone's root", address)
	case errors.As(err, &authority):
		e.warn(p.name, "see that clients know its authority, and that the file holds the chain", "%s has a certificate whose authority this host does not know", address)
	case err != nil:
		e.fail(p.name, "see the zone's log for why it is not renewed", "%s: %v", address, err)
	default:
		e.ok(p.name, "%s answers, and its certificate names all hosts until %s", address, leaf.NotAfter.UTC().Format(time.DateOnly))
	}
}

// dialable is an address to listen on as one to connect to.
func dialable(address string) string {
	host, port, err := net.SplitHostPort(address)
	if a, perr := netip.ParseAddr(host); err == nil && (host == "" || perr == nil && a.IsUnspecified()) {
		host = "127.0.0.1"
		if perr == nil && a.Is6() {
			host = "::1"
		}
		return net.JoinHostPort(host, port)
	}
	return address
}
