package httpsig

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"hash"
	"net/http"
	"sync"
	"time"

	"sallyport.dev/internal/problem"
)

// ExporterLabel is the label of the key that both ends of a connection export
// from it, with an empty context (RFC 8446 section 7.5).
const ExporterLabel = "EXPORTER-sallyport-mac-v1"

// KeySize is the size of that key in bytes.
const KeySize = 32

// MACKey exports the key of a connection whose handshake is complete. Both ends
// get the same key and nobody else can, a middle box that ends TLS least of all.
// It refuses versions before TLS 1.3, whose exporter may not be bound to the
// handshake (RFC 7627), and connections without certificate of the peer.
func MACKey(state *tls.ConnectionState) ([]byte, error) {
	switch {
	case state == nil:
		return nil, errors.New("httpsig: mac key of a connection without TLS")
	case !state.HandshakeComplete:
		return nil, errors.New("httpsig: mac key before the end of the handshake")
	case state.Version < tls.VersionTLS13:
		return nil, fmt.Errorf("httpsig: mac key of %s", tls.VersionName(state.Version))
	case len(state.PeerCertificates) == 0:
		return nil, errors.New("httpsig: mac key of a connection to nobody known")
	}
	// Not nil: an absent context and an empty one are the same only since TLS 1.3.
	key, err := state.ExportKeyingMaterial(ExporterLabel, []byte{}, KeySize)
	if err != nil {
		return nil, fmt.Errorf("httpsig: mac key: %w", err)
	}
	return key, nil
}

// keyed is hmac-sha256 under one key (RFC 9421 section 3.3.3). Its state is kept
// and reset, which spares the two hashes of the key; one lock per connection is
// held for a microsecond.
type keyed struct {
	mu  sync.Mutex
	mac hash.Hash // guarded by mu
	out []byte    // guarded by mu; where mac writes its sum
}

func newKeyed(key []byte) *keyed {
	return &keyed{mac: hmac.New(sha256.New, key), out: make([]byte, 0, sha256.Size)}
}

func (k *keyed) sum(base []byte) (sum [sha256.Size]byte) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.mac.Reset()
	k.mac.Write(base)
	copy(sum[:], k.mac.Sum(k.out))
	return sum
}

// MACSigner proves the requests that go out on one connection. Safe for
// concurrent use.
type MACSigner struct {
	key     *keyed
	counter Counter
}

// NewMACSigner returns the signer of a connection. A key has one signer only:
// it counts the requests.
func NewMACSigner(key []byte) (*MACSigner, error) {
	if len(key) != KeySize {
		return nil, fmt.Errorf("httpsig: mac key of %d bytes", len(key))
	}
	return &MACSigner{key: newKeyed(key)}, nil
}

// Append appends the header lines of the proof, each with its line break, to the
// head of a request that is being written. It allocates nothing when dst has
// room for the base behind the lines: the message's values and 0.5 KiB. Spare
// room of dst is overwritten. On an error dst is returned as it was.
func (s *MACSigner) Append(dst []byte, m *Message, p Profile, now time.Time) ([]byte, error) {
	if err := p.Accepts(MAC); err != nil {
		return dst, err
	}
	cs, n, err := m.components(p)
	if err != nil {
		return dst, unsigned(err)
	}
	in := parameters{created: now.Unix(), counter: s.counter.Next()}
	out, end := appendUnsigned(dst, MAC, p, &in, cs[:n])
	sum := s.key.sum(out[end:])
	return appendSignature(out[:end], MAC, sum[:]), nil
}

// Set puts the proof into h, in place of any that is there.
func (s *MACSigner) Set(h http.Header, m *Message, p Profile, now time.Time) error {
	lines, err := s.Append(nil, m, p, now)
	if err != nil {
		return err
	}
	setLines(h, lines)
	return nil
}

// MACVerifier checks the requests that come in on one connection, and accepts
// each proof once. Safe for concurrent use.
type MACVerifier struct {
	key    *keyed
	window Window
	mu     sync.Mutex
	base   []byte // guarded by mu; kept for the next
}

// NewMACVerifier returns the verifier of a connection. A key has one verifier
// only: it remembers what it accepted.
func NewMACVerifier(key []byte) (*MACVerifier, error) {
	if len(key) != KeySize {
		return nil, fmt.Errorf("httpsig: mac key of %d bytes", len(key))
	}
	return &MACVerifier{key: newKeyed(key)}, nil
}

// Verify checks the proof of one request: nil, or a *problem.Error of the family
// proof. The window comes last, so that only what the peer made moves it. The
// content is not looked at: see CheckDigest.
func (v *MACVerifier) Verify(m *Message, p Profile, proof Proof, now time.Time) error {
	if err := p.Accepts(proof.Strength()); err != nil {
		return err
	}
	in, err := parseInput(proof.Input, MAC, p)
	if err != nil {
		return invalid(err)
	}
	var got [sha256.Size]byte
	if err := parseSignature(proof.Signature, MAC, got[:]); err != nil {
		return invalid(err)
	}
	if err := in.live(now); err != nil {
		return err
	}
	cs, n, err := m.components(p)
	if err != nil {
		return invalid(err)
	}
	want := v.sum(cs[:n], in.text)
	if !hmac.Equal(got[:], want[:]) {
		return invalid(errors.New("the mac differs"))
	}
	if !v.window.Accept(in.counter) {
		return problem.New(problem.ProofReplayed, fmt.Errorf("httpsig: verify: counter %d", in.counter))
	}
	return nil
}

func (v *MACVerifier) sum(cs []component, params string) [sha256.Size]byte {
	v.mu.Lock()
	defer v.mu.Unlock()
	base := appendBase(v.base[:0], cs, params)
	if cap(base) <= keptBase {
		v.base = base
	}
	return v.key.sum(base)
}
