package httpsig

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"io"
	"math/big"
	"strings"
	"testing"
	"time"

	"sallyport.dev/internal/es256"
	"sallyport.dev/internal/problem"
)

func TestSignatureNamesItsSender(t *testing.T) {
	gateway, orders := newSVID(t, senderID), newSVID(t, "spiffe://shop.example/orders")
	stranger := newSVID(t, senderID) // the same name, not of this zone
	v := newVerifier(t, gateway, orders)
	m := good()
	for _, s := range []svid{gateway, orders} {
		got, err := v.Verify(t.Context(), &m, routeSig, s.proof(t, m, routeSig, start), start)
		if err != nil || got.ID != s.id || !got.Created.Equal(start) || !got.Expires.Equal(start.Add(Life)) || len(got.Nonce) != nonceSize {
			t.Errorf("%s: %+v, %v", s.id, got, err)
		}
	}
	_, err := v.Verify(t.Context(), &m, routeSig, stranger.proof(t, m, routeSig, start), start)
	wantReason(t, "an unknown certificate", err, problem.ProofInvalid)

	p := gateway.proof(t, m, routeSig, start)
	p.Certificate = orders.proof(t, m, routeSig, start).Certificate
	_, err = v.Verify(t.Context(), &m, routeSig, p, start)
	wantReason(t, "another's certificate", err, problem.ProofInvalid)
	p.Certificate = ""
	_, err = v.Verify(t.Context(), &m, routeSig, p, start)
	wantReason(t, "no certificate", err, problem.ProofInvalid)
}

func TestSignatureLife(t *testing.T) {
	sender := newSVID(t, senderID)
	v := newVerifier(t, sender)
	m := good()
	for _, c := range []struct {
		after time.Duration
		want  problem.Reason
	}{
		{-31 * time.Second, problem.ProofExpired},
		{-30 * time.Second, problem.OK},
		{90 * time.Second, problem.OK},
		{91 * time.Second, problem.ProofExpired},
	} {
		_, err := v.Verify(t.Context(), &m, routeSig, sender.proof(t, m, routeSig, start), start.Add(c.after))
		wantReason(t, c.after.String(), err, c.want)
	}
	// Lives that only another sender would write, well signed. To a verifier of their
	// own: for the one above the clock would go back.
	v = newVerifier(t, sender)
	for _, c := range []struct {
		created, expires int64
		want             problem.Reason
	}{
		{0, 60, problem.OK},
		{0, 1, problem.OK},
		{0, 61, problem.ProofInvalid},
		{0, 0, problem.ProofInvalid},
		{10, 5, problem.ProofInvalid},
		{-20, 3600, problem.ProofInvalid},
		{-300, -250, problem.ProofExpired},
	} {
		in := parameters{created: start.Unix() + c.created, expires: start.Unix() + c.expires, nonce: newNonce()}
		_, err := v.Verify(t.Context(), &m, routeSig, signed(t, sender, m, &in), start)
		wantReason(t, string(in.append(nil, Signature, routeSig)), err, c.want)
	}
}

// signed is a signature with any parameters.
func signed(t testing.TB, s svid, m Message, in *parameters) Proof {
	t.Helper()
	cs, n, err := m.components(routeSig)
	if err != nil {
		t.Fatal(err)
	}
	out, end := appendUnsigned(nil, Signature, routeSig, in, cs[:n])
	signature, err := es256.Sign(s.key, out[end:])
	if err != nil {
		t.Fatal(err)
	}
	out = append(appendSignature(out[:end], Signature, signature[:]), CertificateHeader+": "...)
	return proofOf(t, append(appendCertificates(out, s.chain), "\r\n"...))
}

func TestNonceForm(t *testing.T) {
	sender := newSVID(t, senderID)
	v := newVerifier(t, sender)
	m := good()
	for nonce, want := range map[string]problem.Reason{
		"":                        problem.ProofInvalid,
		"1":                       problem.ProofInvalid,
		"AAAAAAAAAAAAAAAAAAAAA":   problem.ProofInvalid,
		"AAAAAAAAAAAAAAAAAAAAAAA": problem.ProofInvalid,
		"AAAAAAAAAAAAAAAAAAAAA=":  problem.ProofInvalid,
		`AAAAAAAAAAAAAAAAAAAA\"`:  problem.ProofInvalid,
		"AAAAAAAAAAAAAAAAAAAAAA":  problem.OK,
		"-_-_-_-_-_-_-_-_-_-_-_":  problem.OK,
	} {
		in := parameters{created: start.Unix(), expires: start.Unix() + 60, nonce: nonce}
		_, err := v.Verify(t.Context(), &m, routeSig, signed(t, sender, m, &in), start)
		wantReason(t, nonce, err, want)
	}
}

// A second signature that anybody can compute from the first (r, n-s) is the
// same proof: the nonce names it, not its bytes.
func TestMalleatedSignatureIsAReplay(t *testing.T) {
	sender := newSVID(t, senderID)
	v := newVerifier(t, sender)
	m := good()
	p := sender.proof(t, m, routeSig, start)
	raw := decode64(t, strings.Trim(strings.TrimPrefix(p.Signature, "wimse="), ":"))
	s := new(big.Int).SetBytes(raw[32:])
	s.Sub(elliptic.P256().Params().N, s).FillBytes(raw[32:])
	twin := p
	twin.Signature = "wimse=:" + binary.EncodeToString(raw) + ":"
	_, err := v.Verify(t.Context(), &m, routeSig, p, start)
	wantReason(t, "the proof", err, problem.OK)
	_, err = v.Verify(t.Context(), &m, routeSig, twin, start)
	wantReason(t, "its twin", err, problem.ProofReplayed)
	for _, zero := range [][2]int{{0, 32}, {32, 64}} {
		b := bytes.Clone(raw)
		clear(b[zero[0]:zero[1]])
		twin.Signature = "wimse=:" + binary.EncodeToString(b) + ":"
		_, err = v.Verify(t.Context(), &m, routeSig, twin, start)
		wantReason(t, "r or s of zero", err, problem.ProofInvalid)
	}
}

func TestCertificatesDecide(t *testing.T) {
	sender := newSVID(t, senderID)
	m := good()
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	public, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		key  crypto.PublicKey
		id   string
		err  error
		want problem.Reason
	}{
		{"the key", sender.key.Public(), senderID, nil, problem.OK},
		{"no key", nil, senderID, nil, problem.ProofInvalid},
		{"nil key", (*ecdsa.PublicKey)(nil), senderID, nil, problem.ProofInvalid},
		{"no id", sender.key.Public(), "", nil, problem.ProofInvalid},
		{"P-384", p384.Public(), senderID, nil, problem.ProofInvalid},
		{"Ed25519", public, senderID, nil, problem.ProofInvalid},
		{"an error", sender.key.Public(), senderID, errors.New("expired"), problem.ProofInvalid},
		{"a reason", nil, "", problem.New(problem.InsideUnavailable, nil), problem.InsideUnavailable},
	} {
		v, err := NewVerifier(func([][]byte) (crypto.PublicKey, string, error) { return c.key, c.id, c.err }, newReplay(t, ReplayConfig{}))
		if err != nil {
			t.Fatal(err)
		}
		_, err = v.Verify(t.Context(), &m, routeSig, sender.proof(t, m, routeSig, start), start)
		wantReason(t, c.name, err, c.want)
	}
}

func TestCertificateHeader(t *testing.T) {
	for _, c := range []struct {
		in   string
		want int // certificates; 0: refused
	}{
		{"", 0}, {":", 0}, {"::", 0}, {":AA==", 0}, {"AA==:", 0},
		{":AA==:", 1}, {":AA==:, :AAE=:", 2}, {":AA==:,:AAE=:", 0}, {":AA==: , :AAE=:", 0}, {":AA==:, ", 0},
		{":AB==:", 0}, {":AA:", 0}, {":A\nA==:", 0}, {":AA==:;a", 0}, {":A-==:", 0},
		{strings.Repeat(":AA==:, ", 3) + ":AA==:", 4}, {strings.Repeat(":AA==:, ", 4) + ":AA==:", 0},
		{":" + strings.Repeat("AAAA", maxCertificate/4) + ":", 0},
	} {
		chain, err := parseCertificates(c.in)
		if len(chain) != c.want || (err == nil) != (c.want > 0) {
			t.Errorf("%.40q: %d certificates, %v; want %d", c.in, len(chain), err, c.want)
		}
		if err == nil && string(appendCertificates(nil, chain)) != c.in {
			t.Errorf("%q is not what it is written as", c.in)
		}
	}
}

// brokenKey is a key outside the process that answers nonsense.
type brokenKey struct {
	crypto.Signer
	answer []byte
	err    error
}

func (k brokenKey) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) { return k.answer, k.err }

func TestSignerRefuses(t *testing.T) {
	a, b := newSVID(t, senderID), newSVID(t, senderID)
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		key   crypto.Signer
		chain [][]byte
	}{
		"no key":              {nil, a.chain},
		"no chain":            {a.key, nil},
		"another's leaf":      {a.key, b.chain},
		"no certificate":      {a.key, [][]byte{[]byte("x")}},
		"another kind of key": {private, a.chain},
		"a long chain":        {a.key, [][]byte{a.chain[0], {1}, {2}, {3}, {4}}},
		"a large chain":       {a.key, [][]byte{a.chain[0], make([]byte, maxCertificate)}},
	} {
		if _, err := NewSigner(c.key, c.chain); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	m := good()
	for _, k := range []brokenKey{{a.key, nil, nil}, {a.key, []byte("junk"), nil}, {a.key, []byte{0x30, 6, 2, 1, 0, 2, 1, 1}, nil}, {a.key, nil, errors.New("gone")}} {
		s, err := NewSigner(k, a.chain)
		if err != nil {
			t.Fatal(err)
		}
		if out, err := s.Append(nil, &m, routeSig, start); out != nil || problem.ReasonOf(err) != problem.InternalError {
			t.Errorf("key that answers %x, %v: %q, %v", k.answer, k.err, out, err)
		}
	}
	r := received(m, Proof{})
	if err := a.signer(t).Set(r.Header, &m, routeSig, start); err != nil {
		t.Fatal(err)
	}
	p, err := ProofFrom(r.Header)
	if err != nil {
		t.Fatal(err)
	}
	_, err = newVerifier(t, a).Verify(context.Background(), &m, Profile{Demand: MAC}, p, start)
	wantReason(t, "a signature where a mac would do", err, problem.OK)
}
