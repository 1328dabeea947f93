package httpsig

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	remitly "github.com/remitly-oss/httpsig-go"
	yaronf "github.com/yaronf/httpsign"

	"sallyport.dev/internal/es256"
)

// Two other implementations of RFC 9421 and this one read each other's proofs.

var allCovered = []string{"@method", "@request-target", "@authority", "txn-token", "x-correlation-id", "sallyport-client", "content-digest"}

// plainTarget is good with a target without escapes: one of the oracles decodes them.
func plainTarget() Message {
	m := good()
	m.Authority = "shop.example"
	return m
}

// key64 is the same HMAC key as key32: keys are filled with zeros to the block
// (RFC 2104 section 2), and one oracle takes no shorter ones.
func key64(first byte) []byte { return append(key32(first), make([]byte, 32)...) }

func TestYaronfReadsOurs(t *testing.T) {
	m, sender := plainTarget(), newSVID(t, senderID)
	s, _ := macPair(t)
	fields := yaronf.Headers(allCovered...)
	loose := yaronf.NewVerifyConfig().SetVerifyCreated(false).SetRejectExpired(false)
	mac, err := yaronf.NewHMACSHA256Verifier(key64(7), loose, fields)
	if err != nil {
		t.Fatal(err)
	}
	ec, err := yaronf.NewP256Verifier(sender.key.PublicKey, loose, fields)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		label    string
		verifier *yaronf.Verifier
		proof    Proof
	}{
		{MACLabel, mac, macProof(t, s, m, routeMAC, start)},
		{SignatureLabel, ec, sender.proof(t, m, routeSig, start)},
	} {
		if err := yaronf.VerifyRequest(c.label, *c.verifier, received(m, c.proof)); err != nil {
			t.Errorf("%s: the oracle refuses ours: %v", c.label, err)
		}
		other := m
		other.Correlation += "0"
		if err := yaronf.VerifyRequest(c.label, *c.verifier, received(other, c.proof)); err == nil {
			t.Errorf("%s: the oracle accepts another message", c.label)
		}
	}
}

func TestWeReadYaronf(t *testing.T) {
	m, sender := plainTarget(), newSVID(t, senderID)
	fields := yaronf.Headers(allCovered...)
	now := time.Now() // the oracle dates by the clock of the machine
	config := yaronf.NewSignConfig().SignAlg(false).SetNonce("41").SetTag(MACTag)
	mac, err := yaronf.NewHMACSHA256Signer(key64(7), config, fields)
	if err != nil {
		t.Fatal(err)
	}
	input, signature, err := yaronf.SignRequest(MACLabel, *mac, received(m, Proof{}))
	if err != nil {
		t.Fatal(err)
	}
	_, v := macPair(t)
	if err := v.Verify(&m, routeMAC, Proof{Input: input, Signature: signature}, now); err != nil {
		t.Errorf("mac of the oracle: %v", err)
	}
	config = yaronf.NewSignConfig().SignAlg(false).SetNonce("0123456789abcdefABCD-_").SetTag(SignatureTag).SetExpires(now.Unix() + 50)
	ec, err := yaronf.NewP256Signer(*sender.key, config, fields)
	if err != nil {
		t.Fatal(err)
	}
	if input, signature, err = yaronf.SignRequest(SignatureLabel, *ec, received(m, Proof{})); err != nil {
		t.Fatal(err)
	}
	p := Proof{Input: input, Signature: signature, Certificate: string(appendCertificates(nil, sender.chain))}
	got, err := newVerifier(t, sender).Verify(t.Context(), &m, routeSig, p, now)
	if err != nil || got.ID != senderID {
		t.Errorf("signature of the oracle: %+v, %v", got, err)
	}
}

// remitly has no @request-target, so bases without that component are compared;
// the line format and the cryptography are the same.
func remitlyBase(m Message, params string) []byte {
	cs, n, _ := m.components(routeMAC)
	return appendBase(nil, append([]component{cs[0]}, cs[2:n]...), params)
}

const remitlyList = `("@method" "@authority" "txn-token" "x-correlation-id" "sallyport-client" "content-digest")`

type oneKey struct{ spec remitly.KeySpec }

func (k oneKey) FetchByKeyID(context.Context, http.Header, string) (remitly.KeySpecer, error) {
	return k.spec, nil
}

func (k oneKey) Fetch(context.Context, http.Header, remitly.MetadataProvider) (remitly.KeySpecer, error) {
	return k.spec, nil
}

func TestRemitlyReadsOurs(t *testing.T) {
	m, sender := plainTarget(), newSVID(t, senderID)
	params := remitlyList + `;created=1790000000;nonce="1"`
	base := remitlyBase(m, params)
	sum := newKeyed(key32(7)).sum(base)
	signature, err := es256.Sign(sender.key, base)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name      string
		key       remitly.KeySpec
		signature []byte
	}{
		{"mac", remitly.KeySpec{Algo: remitly.Algo_HMAC_SHA256, Secret: key32(7)}, sum[:]},
		{"signature", remitly.KeySpec{Algo: remitly.Algo_ECDSA_P256_SHA256, PubKey: &sender.key.PublicKey}, signature[:]},
	} {
		p := Proof{Input: "sig1=" + params, Signature: "sig1=:" + binary.EncodeToString(c.signature) + ":"}
		profile := remitly.VerifyProfile{SignatureLabel: "sig1", DisableTimeEnforcement: true}
		if _, err := remitly.Verify(received(m, p), oneKey{c.key}, profile); err != nil {
			t.Errorf("%s: the oracle refuses ours: %v", c.name, err)
		}
		other := m
		other.Client = strings.Replace(other.Client, "113", "114", 1)
		if _, err := remitly.Verify(received(other, p), oneKey{c.key}, profile); err == nil {
			t.Errorf("%s: the oracle accepts another message", c.name)
		}
	}
}

func TestWeReadRemitly(t *testing.T) {
	m, sender := plainTarget(), newSVID(t, senderID)
	components := append([]string{"@method"}, allCovered[2:]...)
	for _, c := range []struct {
		name      string
		algorithm remitly.Algorithm
		key       remitly.SigningKey
		holds     func(base, signature []byte) bool
	}{
		{"mac", remitly.Algo_HMAC_SHA256, remitly.SigningKey{Secret: key32(7)}, func(base, signature []byte) bool {
			sum := newKeyed(key32(7)).sum(base)
			return string(sum[:]) == string(signature)
		}},
		{"signature", remitly.Algo_ECDSA_P256_SHA256, remitly.SigningKey{Key: sender.key}, func(base, signature []byte) bool {
			return es256.Verify(&sender.key.PublicKey, base, (*[es256.Size]byte)(signature))
		}},
	} {
		r := received(m, Proof{})
		profile := remitly.SigningProfile{Algorithm: c.algorithm, Fields: remitly.Fields(components...), Label: "sig1",
			Metadata: []remitly.Metadata{remitly.MetaCreated, remitly.MetaNonce}}
		if err := remitly.Sign(r, profile, c.key); err != nil {
			t.Fatal(err)
		}
		params := strings.TrimPrefix(r.Header.Get("Signature-Input"), "sig1=")
		signature := decode64(t, strings.Trim(strings.TrimPrefix(r.Header.Get("Signature"), "sig1="), ":"))
		if !strings.HasPrefix(params, remitlyList) || !c.holds(remitlyBase(m, params), signature) {
			t.Errorf("%s: the proof of the oracle does not hold: %s", c.name, params)
		}
		if c.holds(remitlyBase(m, params+" "), signature) {
			t.Errorf("%s: it holds for other parameters", c.name)
		}
	}
}
