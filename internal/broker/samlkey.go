package broker

import (
	"bytes"
	"compress/flate"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/url"
	"time"

	"github.com/beevik/etree"
	dsig "github.com/russellhaering/goxmldsig"

	"sallyport.dev/internal/keys"
	"sallyport.dev/internal/store"
)

// requestKey signs what the zone says as a SAML service provider: requests and
// metadata. It is one for all providers, and of RSA: not every provider knows others.
type requestKey struct {
	private     *rsa.PrivateKey
	certificate *x509.Certificate
}

const (
	requestKeyName = "saml-request"            // among what the zone keeps sealed
	requestKeyBits = 3072                      // of RSA
	requestKeyLife = 10 * 365 * 24 * time.Hour // of its certificate, which providers keep as they once read it
)

// errNoRequestKey says that what is sealed is none of ours.
var errNoRequestKey = errors.New("what is sealed there is no key of this zone")

// openRequestKey returns the key of the zone, which is made at the first call and
// sealed, and the same ever after in all processes.
func openRequestKey(ctx context.Context, db *store.DB, root *keys.Root, host string, now time.Time) (*requestKey, error) {
	read := func() (text []byte, err error) {
		err = db.View(ctx, func(ctx context.Context, tx *store.Tx) error {
			text, _, err = root.Get(ctx, tx, requestKeyName)
			return err
		})
		return text, err
	}
	text, err := read()
	if errors.Is(err, store.ErrNotFound) {
		made, failed := makeRequestKey(host, now)
		if failed != nil {
			return nil, failed
		}
		err = db.Tx(ctx, func(ctx context.Context, tx *store.Tx) error { return root.Put(ctx, tx, requestKeyName, 1, made) })
		if err == nil || errors.Is(err, store.ErrConflict) { // another process was faster
			text, err = read()
		}
	}
	var key *requestKey
	if err == nil {
		key, err = parseRequestKey(text)
	}
	switch {
	case err == nil:
		return key, nil
	case errors.Is(err, keys.ErrAltered), errors.Is(err, errNoRequestKey):
		return nil, fmt.Errorf("key of SAML requests: %w; bring the database back from a backup that was made under %v, "+
			"or delete the rows %q of the table sealed: the zone then makes a fresh key, and every SAML provider must be given the zone's new metadata", err, root, requestKeyName)
	default: // of another root key: that error says which is wanted
		return nil, fmt.Errorf("key of SAML requests: %w", err)
	}
}

// makeRequestKey returns a new key and a certificate that it signs itself, as PEM.
func makeRequestKey(host string, now time.Time) ([]byte, error) {
	private, err := rsa.GenerateKey(rand.Reader, requestKeyBits)
	if err != nil {
		return nil, fmt.Errorf("key of SAML requests: %w", err)
	}
	serial := make([]byte, 16)
	_, _ = rand.Read(serial) // crypto/rand.Read never fails (Go 1.24)
	template := &x509.Certificate{
		SerialNumber: new(big.Int).SetBytes(serial), Subject: pkix.Name{CommonName: host[:min(len(host), 64)]}, // RFC 5280: ub-common-name
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(requestKeyLife), KeyUsage: x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		return nil, fmt.Errorf("key of SAML requests: %w", err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, fmt.Errorf("key of SAML requests: %w", err)
	}
	return append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})...), nil
}

func parseRequestKey(text []byte) (*requestKey, error) {
	pair, err := tls.X509KeyPair(text, text) // it compares the two
	if err != nil {
		return nil, errNoRequestKey
	}
	private, ok := pair.PrivateKey.(*rsa.PrivateKey)
	if !ok {
		return nil, errNoRequestKey
	}
	return &requestKey{private, pair.Leaf}, nil
}

// redirect is where a browser takes a request: signed as SAML 2.0 bindings section
// 3.4.4.1 has it, which leaves out what the address had before.
func (k *requestKey) redirect(place string, request *etree.Element, relay string) (string, error) {
	to, err := url.Parse(place)
	if err != nil {
		return "", err
	}
	var packed bytes.Buffer
	deflate, err := flate.NewWriter(&packed, flate.BestCompression)
	if err != nil {
		return "", err
	}
	document := etree.NewDocument()
	document.SetRoot(request)
	if _, err := document.WriteTo(deflate); err != nil {
		return "", err
	}
	if err := deflate.Close(); err != nil {
		return "", err
	}
	query := "SAMLRequest=" + url.QueryEscape(base64.StdEncoding.EncodeToString(packed.Bytes())) + "&RelayState=" + url.QueryEscape(relay) +
		"&SigAlg=" + url.QueryEscape(dsig.RSASHA256SignatureMethod)
	sum := sha256.Sum256([]byte(query))
	signature, err := rsa.SignPKCS1v15(nil, k.private, crypto.SHA256, sum[:])
	if err != nil {
		return "", err
	}
	query += "&Signature=" + url.QueryEscape(base64.StdEncoding.EncodeToString(signature))
	if to.RawQuery != "" {
		query = to.RawQuery + "&" + query
	}
	to.RawQuery = query
	return to.String(), nil
}

// sign signs a document as a whole. Where its schema wants the signature is first.
func (k *requestKey) sign(text []byte) ([]byte, error) {
	document := etree.NewDocument()
	if err := document.ReadFromBytes(text); err != nil {
		return nil, err
	}
	context, err := dsig.NewSigningContext(k.private, [][]byte{k.certificate.Raw})
	if err != nil {
		return nil, err
	}
	context.Canonicalizer = dsig.MakeC14N10ExclusiveCanonicalizerWithPrefixList("")
	if err := context.SetSignatureMethod(dsig.RSASHA256SignatureMethod); err != nil {
		return nil, err
	}
	signature, err := context.ConstructSignature(document.Root(), true)
	if err != nil {
		return nil, err
	}
	document.Root().InsertChildAt(0, signature)
	return document.WriteToBytes()
}
