package svid

import (
	"context"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/json"
	"io"
	"log"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"sallyport.dev/internal/problem"
)

// controlPart is the control part of a zone, on a network in memory.
type controlPart struct {
	*memory
	zone   *authority
	source *Source
	life   time.Duration
	server *http.Server
	ended  chan struct{}

	mu      sync.Mutex
	tokens  map[[16]byte]string                     // guarded by mu; service by token that is not spent
	secrets map[[16]byte][32]byte                   // guarded by mu
	spoil   func(path, name string, a *Issued) bool // guarded by mu; may change the answer; false: 503
	joins   int                                     // guarded by mu; requests to JoinPath
	renewed []*x509.Certificate                     // guarded by mu; certificates that asked for the next
	keys    map[string]bool                         // guarded by mu; each key that was certified
	domain  string                                  // guarded by mu; of what is issued
	alias   string                                  // guarded by mu; whom renewals are for; empty: who asks
}

func openControl(t *testing.T, zone *authority, life time.Duration) *controlPart {
	t.Helper()
	c := &controlPart{
		memory: newMemory(), zone: zone, source: NewSource(nil), life: life, ended: make(chan struct{}),
		domain: testZone, tokens: map[[16]byte]string{}, secrets: map[[16]byte][32]byte{}, keys: map[string]bool{},
	}
	c.source.Set(zone.identity(ControlName, time.Now(), 12*time.Hour))
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+JoinPath, c.join)
	mux.HandleFunc("POST "+IdentityPath, c.renew)
	c.server = &http.Server{Handler: mux, ConnContext: ConnContext, ReadHeaderTimeout: time.Minute, ErrorLog: log.New(io.Discard, "", 0)}
	conns := NewConns(nil)
	go func() {
		defer close(c.ended)
		_ = c.server.Serve(conns.Listener(c.memory, ControlTLS(c.source, allowAll)))
	}()
	t.Cleanup(func() { _ = c.server.Close(); _ = conns.Close(); <-c.ended })
	return c
}

func (c *controlPart) token(service string) JoinToken {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := newJoinToken(c.zone.root)
	c.tokens[t.ID], c.secrets[t.ID] = service, t.Secret
	return t
}

func (c *controlPart) join(w http.ResponseWriter, r *http.Request) {
	var ask JoinRequest
	if !readAsk(w, r, &ask) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.joins++
	id := [16]byte(ask.ID)
	name, ok := c.tokens[id]
	if !ok || c.secrets[id] != [32]byte(ask.Secret) {
		problem.Write(w, problem.JoinRefused, "", "")
		return
	}
	if c.issue(w, JoinPath, name, ask.CSR) {
		delete(c.tokens, id)
	}
}

func (c *controlPart) renew(w http.ResponseWriter, r *http.Request) {
	var ask IdentityRequest
	if !readAsk(w, r, &ask) {
		return
	}
	peer, ok := PeerFrom(r.Context())
	if !ok {
		problem.Write(w, problem.InsidePeer, "", "")
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	name := strings.TrimPrefix(peer.ID.Path(), "/")
	if c.alias != "" {
		name = c.alias
	}
	if c.issue(w, IdentityPath, name, ask.CSR) {
		c.renewed = append(c.renewed, peer.Leaf)
	}
}

func readAsk(w http.ResponseWriter, r *http.Request, into any) bool {
	body, err := io.ReadAll(io.LimitReader(r.Body, MaxJoinBody))
	if err != nil || strictJSON(body, into) != nil || r.Header.Get("Content-Type") != "application/json" {
		problem.Write(w, problem.RequestMalformed, "", "")
		return false
	}
	return true
}

func (c *controlPart) issue(w http.ResponseWriter, path, name string, der []byte) bool {
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil || csr.CheckSignature() != nil {
		problem.Write(w, problem.RequestMalformed, "", "")
		return false
	}
	id, err := ServiceID(c.domain, name)
	if err != nil {
		problem.Write(w, problem.InternalError, "", "")
		return false
	}
	tmpl := &x509.Certificate{
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(c.life), KeyUsage: x509.KeyUsageDigitalSignature, URIs: append(csr.URIs, id.URL()),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	leaf := sign(c.zone.t, tmpl, c.zone.mid, csr.PublicKey.(*ecdsa.PublicKey), c.zone.midKey)
	c.keys[string(leaf.RawSubjectPublicKeyInfo)] = true
	answer := &Issued{Certificates: [][]byte{leaf.Raw, c.zone.mid.Raw}, Roots: [][]byte{c.zone.root.Raw}}
	if c.spoil != nil && !c.spoil(path, name, answer) {
		problem.Write(w, problem.TokenUnavailable, "", "")
		return false
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(answer)
	return true
}

func (c *controlPart) set(spoil func(path, name string, a *Issued) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.spoil = spoil
}

func (c *controlPart) counts() (joins, renewals, keys int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.joins, len(c.renewed), len(c.keys)
}

// with starts a Join on a source and returns how it ends.
func (c *controlPart) with(t *testing.T, j Join) (*Source, func() error) {
	t.Helper()
	j.Control, j.Log, j.dial = "https://control.invalid:8441", quietLog(), c.dial
	s := NewSource(nil)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- j.Run(ctx, s) }()
	stop := sync.OnceValue(func() error { cancel(); return <-done })
	t.Cleanup(func() { _ = stop() })
	return s, stop
}
