package gateway

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"sallyport.dev/internal/problem"
	"sallyport.dev/zone"
)

// listener is one outside door as one map has it: a certificate, a list of
// hosts, a set of routes. Listeners share nothing that decides a request.
type listener struct {
	*zone.Listener
	index      int // its place in the tables of tokens
	gateway    *Gateway
	rules      *rules // that it belongs to
	tls        *tls.Config
	clientCA   []byte          // PEM; nil: it asks for no certificate
	clientPool *x509.CertPool  // of clientCA
	certs      Certificates    // where its own comes from
	hosts      map[string]bool // lower case; addresses in their canonical text
	noSNI      bool            // an address is among the hosts: such clients send no server name (RFC 6066 section 3)
	matcher    *zone.Matcher
	routes     map[*zone.Route]*route
	unrouted   *route        // labels of requests that found no route
	limitKey   string        // prefix of its keys in the limiter
	policyFor  string        // its RateLimit-Policy item; empty without a rate
	anonymous  *entry        // holds the inside token of requests without a credential
	addresses  *addressBound // new connections per peer address
	places     *shares       // of open connections
}

func newListener(g *Gateway, r *rules, zl *zone.Listener, index int, cfg *Config, before *rules) (*listener, error) {
	l := &listener{
		Listener:  zl,
		index:     index,
		gateway:   g,
		rules:     r,
		certs:     cfg.Certificates[zl.Name],
		hosts:     make(map[string]bool, len(zl.Hosts)),
		limitKey:  limitName("l", zl.Name),
		policyFor: policyItem("listener", zl.Limits.Rate),
		anonymous: &entry{number: g.principals.numbers.Add(1), principal: anonymous()},
		addresses: newAddressBound(cfg.Addresses.Connections, maxAddresses, cfg.Addresses.Loopback),
		places:    newShares(int64(zl.Limits.Connections)),
	}
	for _, h := range zl.Hosts {
		if a, err := netip.ParseAddr(strings.Trim(h, "[]")); err == nil {
			h = a.String()
			l.noSNI = true
		}
		l.hosts[h] = true
	}
	if err := l.buildRoutes(g, cfg); err != nil {
		return nil, fmt.Errorf("gateway: listener %s: %w", zl.Name, err)
	}
	if err := l.readClientCA(); err != nil {
		return nil, fmt.Errorf("gateway: listener %s: %w", zl.Name, err)
	}
	if before != nil {
		l.takeOver(before.listener(zl.Name))
	}
	if l.tls == nil {
		l.tls = serverTLS(l)
	}
	return l, nil
}

// takeOver takes what the listener of the rules before may go on with: the counts
// of its clients, and its TLS, in which they may resume what they began.
func (l *listener) takeOver(old *listener) {
	if old == nil {
		return
	}
	l.addresses, l.places = old.addresses, old.places
	if old.certs == l.certs && bytes.Equal(old.clientCA, l.clientCA) {
		l.tls = old.tls
	}
}

// serverBounds are what net/http takes for the life of a server.
type serverBounds struct {
	headerTime, idle time.Duration
	header           int64
	streams          int
}

func boundsOf(l *listener) serverBounds {
	return serverBounds{l.Limits.HeaderTime, l.Limits.Idle, l.Limits.Header, l.Limits.Streams}
}

// newServer sets every bound that net/http leaves open.
func newServer(d *doorway, l *listener, log *slog.Logger) *http.Server {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true) // over TLS by ALPN only: h2c is not known here
	return &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			l := d.enter()
			defer l.rules.leave()
			d.gateway.serve(l, w, r)
		}),
		TLSConfig: &tls.Config{NextProtos: protocolNames(), MinVersion: tls.VersionTLS12}, // for net/http to know of HTTP/2: front makes the handshakes
		Protocols: protocols,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: l.Limits.Streams,
			// Request bodies wait here while the service is slow: a connection may hold
			// this much and not the megabyte of the default.
			MaxReceiveBufferPerConnection: 512 << 10,
			MaxReceiveBufferPerStream:     256 << 10,
			MaxReadFrameSize:              16 << 10,
			// A peer that went away without a word is noticed.
			SendPingTimeout:  30 * time.Second,
			PingTimeout:      15 * time.Second,
			WriteByteTimeout: readerGrace,
			// Streams and connections that break the protocol reach no handler.
			CountError: func(string) { d.current.Load().unrouted.count(problem.RequestMalformed) },
		},
		// front bounds the TLS handshake by the same. There is no ReadTimeout and no WriteTimeout:
		// one number for the whole request would either let slow bodies through or
		// break large uploads and streams. Bodies and answers have deadlines of their
		// own (body.go, writer.go).
		ReadHeaderTimeout: l.Limits.HeaderTime,
		IdleTimeout:       l.Limits.Idle,
		MaxHeaderBytes:    int(l.Limits.Header),
		// `OPTIONS *` must reach the pipeline, which refuses and records it.
		DisableGeneralOptionsHandler: true,
		ErrorLog:                     slog.NewLogLogger(log.With("listener", l.Name).Handler(), slog.LevelDebug),
		ConnContext:                  connContext,
		ConnState:                    connState,
		BaseContext:                  func(net.Listener) context.Context { return context.Background() },
	}
}

func protocolNames() []string { return []string{"h2", "http/1.1"} }

// serverTLS is TLS 1.3, and 1.2 with forward secrecy and authenticated
// encryption only (RFC 9325 section 4.2).
func serverTLS(l *listener) *tls.Config {
	c := &tls.Config{
		NextProtos:     protocolNames(),
		GetCertificate: l.certs.GetCertificate,
		MinVersion:     tls.VersionTLS12,
		CipherSuites: []uint16{ // of 1.2; those of 1.3 are all good and cannot be chosen
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
			tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
		},
	}
	if l.clientPool == nil {
		return c
	}
	c.ClientCAs = l.clientPool
	c.ClientAuth = tls.RequireAndVerifyClientCert
	// A resumed session skips the verification of the chain, so there is none; and
	// VerifyConnection, unlike VerifyPeerCertificate, would run on one all the same.
	c.SessionTicketsDisabled = true
	c.VerifyConnection = func(state tls.ConnectionState) error {
		if state.DidResume || len(state.VerifiedChains) == 0 {
			return errors.New("the client's certificate was not verified on this connection")
		}
		return nil
	}
	return c
}
