package httpsig

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"sallyport.dev/internal/problem"
)

const (
	senderID = "spiffe://shop.example/gateway"
	content  = `{"article":"tea"}`
)

var (
	start     = time.Unix(1_790_000_000, 0)
	routeMAC  = Profile{Demand: MAC}
	routeSig  = Profile{Demand: Signature}
	streamMAC = Profile{Demand: MAC, NoDigest: true}
)

// good is a message as the gateway sends it.
func good() Message {
	return Message{
		Method: "POST", Target: "/orders/7?line=2&note=a,b", Authority: "shop.example:8443",
		Token:       "eyJ0eXAiOiJ0eG50b2tlbitqd3QifQ." + strings.Repeat("e30", 200) + ".c2ln",
		Correlation: "2f1c9a52-6a3e-4b0e-9d63-6f0a4ef2c001",
		Client:      `"203.0.113.7";listener=public`,
		Digest:      Digest([]byte(content)),
	}
}

func key32(first byte) []byte { return bytes.Repeat([]byte{first}, KeySize) }

func macPair(t testing.TB) (*MACSigner, *MACVerifier) {
	t.Helper()
	s, err := NewMACSigner(key32(7))
	if err != nil {
		t.Fatal(err)
	}
	v, err := NewMACVerifier(key32(7))
	if err != nil {
		t.Fatal(err)
	}
	return s, v
}

// proofOf reads appended header lines back, as any HTTP reader would.
func proofOf(t testing.TB, lines []byte) Proof {
	t.Helper()
	h := http.Header{}
	for line := range strings.SplitSeq(strings.TrimSuffix(string(lines), "\r\n"), "\r\n") {
		name, value, ok := strings.Cut(line, ": ")
		if !ok {
			t.Fatalf("header line %q", line)
		}
		h.Add(name, value)
	}
	p, err := ProofFrom(h)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func macProof(t testing.TB, s *MACSigner, m Message, p Profile, now time.Time) Proof {
	t.Helper()
	lines, err := s.Append(nil, &m, p, now)
	if err != nil {
		t.Fatal(err)
	}
	return proofOf(t, lines)
}

// svid is a sender with a key, and a certificate that names it.
type svid struct {
	id    string
	key   *ecdsa.PrivateKey
	chain [][]byte
}

func newSVID(t testing.TB, id string) svid {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	uri, err := url.Parse(id)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), URIs: []*url.URL{uri}, NotBefore: start, NotAfter: start.Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return svid{id: id, key: key, chain: [][]byte{der, []byte("an intermediate")}}
}

func (s svid) signer(t testing.TB) *Signer {
	t.Helper()
	signer, err := NewSigner(s.key, s.chain)
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

func (s svid) proof(t testing.TB, m Message, p Profile, now time.Time) Proof {
	t.Helper()
	lines, err := s.signer(t).Append(nil, &m, p, now)
	if err != nil {
		t.Fatal(err)
	}
	return proofOf(t, lines)
}

// known is a Certificates that knows these senders and no others.
func known(senders ...svid) Certificates {
	return func(chain [][]byte) (crypto.PublicKey, string, error) {
		for _, s := range senders {
			if bytes.Equal(chain[0], s.chain[0]) {
				return s.key.Public(), s.id, nil
			}
		}
		return nil, "", http.ErrNoLocation // any error that is no *problem.Error
	}
}

func newReplay(t testing.TB, cfg ReplayConfig) *Replay {
	t.Helper()
	if cfg.Started.IsZero() {
		cfg.Started = start.Add(-time.Hour)
	}
	r, err := NewReplay(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func newVerifier(t testing.TB, senders ...svid) *Verifier {
	t.Helper()
	v, err := NewVerifier(known(senders...), newReplay(t, ReplayConfig{}))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func wantReason(t *testing.T, what string, err error, want problem.Reason) {
	t.Helper()
	if got := problem.ReasonOf(err); got != want {
		t.Errorf("%s: %v, want %s", what, err, want)
	}
}

// received is the request of m as a server has it.
func received(m Message, p Proof) *http.Request {
	r := httptest.NewRequest(m.Method, "https://x.example"+m.Target, strings.NewReader(content))
	r.RequestURI, r.Host = m.Target, m.Authority
	for name, v := range map[string]string{
		TokenHeader: m.Token, CorrelationHeader: m.Correlation, ClientHeader: m.Client, DigestHeader: m.Digest,
		InputHeader: p.Input, SignatureHeader: p.Signature, CertificateHeader: p.Certificate,
	} {
		if v != "" {
			r.Header[name] = []string{v}
		}
	}
	return r
}
