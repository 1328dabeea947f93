package zone

import (
	"net/netip"
	"time"
)

// doors are the listeners as they are written.
type doors struct {
	outside        []*Listener
	admin, control string
}

func doorsType() typ[doors] {
	return object("listeners", "the doors of the zone",
		key("admin", innerListener(), func(d *doors) *string { return &d.admin },
			"console, admin API, metrics; never routes of services").says("address 127.0.0.1:8440"),
		key("control", innerListener(), func(d *doors) *string { return &d.control },
			"gateways, sidecars and guards stay in touch here").says("address 127.0.0.1:8441, when some service has a `sidecar` or is `embedded`"),
		&each[doors, string, Listener]{name(), listenerType(), "an outside listener; none written: `public` on :8443", func(d *doors, name string, _ Pos, l Listener) {
			l.Name = name
			d.outside = append(d.outside, &l)
		}},
	)
}

// innerListener is admin or control: an address and nothing else.
func innerListener() typ[string] {
	return object("inner listener", "its address",
		key("address", bindAddress(), func(a *string) *string { return a }, "where it listens").must())
}

func listenerType() typ[Listener] {
	return object("listener", "address, hosts, certificate and more",
		key("address", bindAddress(), func(l *Listener) *string { return &l.Address }, "where it listens").must(),
		key("hosts", oneOrList(host()), func(l *Listener) *[]string { return &l.Hosts },
			"the hosts it answers for; another Host: 421. No SNI is accepted only where an address is among them").says("the zone, localhost, 127.0.0.1"),
		key("certificate", certificateType(), func(l *Listener) *Certificate { return &l.Certificate },
			"`internal`: of the zone's own CA; `acme`: of a public CA; or files").is("internal").
			laterIf(func(c Certificate) bool { return c.Kind == CertificateACME }, StopsServe,
				"certificates by ACME are not there yet; use internal or {cert: FILE, key: FILE}"),
		key("client_ca", filePath(), func(l *Listener) *string { return &l.ClientCA },
			"PEM file of the CAs of client certificates; written: mutual TLS is required"),
		key("anonymous", boolean(), func(l *Listener) *bool { return &l.Anonymous },
			"false: a route with `anonymous` on it is an error").is("true"),
		key("trusted_proxies", oneOrList(prefix()), func(l *Listener) *[]netip.Prefix { return &l.TrustedProxies },
			"the networks whose word on the client's address is believed"),
		key("limits", limitsType(), func(l *Listener) *Limits { return &l.Limits }, "what the listener takes"),
	)
}

func certificateType() typ[Certificate] {
	files := then(object("certificate files", "{cert: FILE, key: FILE}",
		key("cert", filePath(), func(c *Certificate) *string { return &c.Cert }, "PEM file of the certificate and its chain").must(),
		key("key", filePath(), func(c *Certificate) *string { return &c.Key }, "PEM file of its private key").must(),
	), func(c *Certificate, _ Pos) { c.Kind = CertificateFiles })
	return short(files, oneOf("certificate", certificateWords()), func(c *Certificate, kind CertificateKind) {
		*c = Certificate{Kind: kind}
	})
}

func limitsType() typ[Limits] {
	return object("limits", "the bounds of a listener",
		key("body", size(), func(l *Limits) *int64 { return &l.Body }, "bytes of a request's body").is("1MiB"),
		key("header", size(), func(l *Limits) *int64 { return &l.Header }, "bytes of a request's head").is("32KiB"),
		key("header_time", duration(), func(l *Limits) *time.Duration { return &l.HeaderTime }, "time for the head of a request").is("5s"),
		key("idle", duration(), func(l *Limits) *time.Duration { return &l.Idle }, "time that a connection may rest between requests").is("2min"),
		key("body_rate", throughput(), func(l *Limits) *int64 { return &l.BodyRate }, "how fast a client must send a body and read an answer at least").is("1KiB/s"),
		key("connections", integer(1, 1_000_000), func(l *Limits) *int { return &l.Connections }, "open connections").is("10000"),
		key("streams", integer(1, 10_000), func(l *Limits) *int { return &l.Streams }, "concurrent requests of one HTTP/2 connection").is("100"),
		key("rate", rate(), func(l *Limits) *Rate { return &l.Rate }, "requests per principal, else per client address, over all routes of the listener"),
	)
}
