package broker

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/beevik/etree"
	dsig "github.com/russellhaering/goxmldsig"

	"sallyport.dev/internal/keys"
	"sallyport.dev/internal/store"
)

// published is the certificate that our metadata names for signatures.
func (w *world) published() *x509.Certificate {
	w.t.Helper()
	own, err := w.Metadata("saml")
	if err != nil {
		w.t.Fatal(err)
	}
	document := etree.NewDocument()
	if err := document.ReadFromBytes(own); err != nil {
		w.t.Fatal(err)
	}
	found := document.FindElements("//SPSSODescriptor/KeyDescriptor[@use='signing']/KeyInfo/X509Data/X509Certificate")
	if len(found) != 1 || found[0].NamespaceURI() != signatureNamespace {
		w.t.Fatalf("%d certificates: %s", len(found), own)
	}
	c, err := parseCertificate(found[0].Text())
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// bySender verifies a redirect as a provider does (SAML 2.0 bindings section
// 3.4.4.1): over the parameters as they were sent, in this order, and no others.
func bySender(redirect string, certificate *x509.Certificate) bool {
	u, err := url.Parse(redirect)
	if err != nil || u.Query().Get("SigAlg") != dsig.RSASHA256SignatureMethod {
		return false
	}
	var octets []string
	for _, name := range []string{"SAMLRequest", "RelayState", "SigAlg"} {
		for part := range strings.SplitSeq(u.RawQuery, "&") {
			if strings.HasPrefix(part, name+"=") {
				octets = append(octets, part)
			}
		}
	}
	signature, err := base64.StdEncoding.DecodeString(u.Query().Get("Signature"))
	if err != nil {
		return false
	}
	sum := sha256.Sum256([]byte(strings.Join(octets, "&")))
	return rsa.VerifyPKCS1v15(certificate.PublicKey.(*rsa.PublicKey), crypto.SHA256, sum[:], signature) == nil
}

func TestSignedRequest(t *testing.T) {
	w, p := newSAMLWorld(t)
	certificate := w.published()
	redirect, _ := w.begin("saml", Ask{Handle: "flow-1"})
	if !bySender(redirect, certificate) {
		t.Errorf("the signature does not hold: %s", redirect)
	}
	other, _ := w.begin("saml", Ask{Handle: "flow-2"})
	request := func(address string) string {
		u, err := url.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		return url.QueryEscape(u.Query().Get("SAMLRequest"))
	}
	for name, changed := range map[string]string{
		"another flow":      strings.Replace(redirect, "RelayState=flow-1", "RelayState=flow-2", 1),
		"no flow":           strings.Replace(redirect, "RelayState=flow-1&", "", 1),
		"another request":   strings.Replace(redirect, request(redirect), request(other), 1),
		"another algorithm": strings.Replace(redirect, "rsa-sha256", "rsa-sha1", 1),
		"no signature":      redirect[:strings.Index(redirect, "&Signature=")],
	} {
		if changed == redirect || bySender(changed, certificate) {
			t.Errorf("%s: the signature holds, or nothing was changed", name)
		}
	}
	if bySender(redirect, p.Certificate) {
		t.Error("it holds by the provider's own certificate")
	}
}

func TestSignedMetadata(t *testing.T) {
	w, p := newSAMLWorld(t)
	own, err := w.Metadata("saml")
	if err != nil {
		t.Fatal(err)
	}
	holds := func(text string, by *x509.Certificate) bool {
		document := etree.NewDocument()
		if err := document.ReadFromString(text); err != nil {
			t.Fatal(err)
		}
		if first := document.Root().ChildElements()[0]; first.Tag != "Signature" { // as the schema has it
			t.Errorf("the first child is %s", first.Tag)
		}
		context := dsig.NewDefaultValidationContext(&dsig.MemoryX509CertificateStore{Roots: []*x509.Certificate{by}})
		context.Clock = dsig.NewFakeClockAt(start)
		_, err := context.Validate(document.Root())
		return err == nil
	}
	text := string(own)
	for name, c := range map[string]struct {
		text string
		by   *x509.Certificate
		want bool
	}{
		"as it is":          {text, w.published(), true},
		"another address":   {strings.Replace(text, "/saml/acs", "/saml/evil", 1), w.published(), false},
		"requests unsigned": {strings.Replace(text, `AuthnRequestsSigned="true"`, `AuthnRequestsSigned="false"`, 1), w.published(), false},
		"another signer":    {text, p.Certificate, false},
	} {
		if got := holds(c.text, c.by); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

// TestRequestKey: the key is made once, whoever asks first, rests sealed, and is the
// zone's own.
func TestRequestKey(t *testing.T) {
	w, _ := newSAMLWorld(t)
	var all sync.WaitGroup
	var made [3]*requestKey
	for n := range made {
		all.Go(func() {
			k, err := openRequestKey(t.Context(), w.db, w.root, "shop.example", start)
			if err != nil {
				t.Error(err)
				return
			}
			made[n] = k
		})
	}
	all.Wait()
	if t.Failed() {
		return
	}
	for _, k := range made[1:] {
		if !k.private.Equal(made[0].private) || !k.certificate.Equal(made[0].certificate) {
			t.Error("two keys of one zone")
		}
	}
	if c := made[0].certificate; c.Subject.CommonName != "shop.example" || made[0].private.N.BitLen() != requestKeyBits || c.NotAfter.Sub(start) != requestKeyLife {
		t.Errorf("certificate %v until %v", c.Subject, c.NotAfter)
	}
	var sealed []byte
	err := w.db.View(t.Context(), func(ctx ctx, tx *store.Tx) error {
		return tx.QueryRow(ctx, "SELECT sealed FROM sealed WHERE name = ?", requestKeyName).Scan(&sealed)
	})
	if err != nil || len(sealed) == 0 || bytes.Contains(sealed, []byte("PRIVATE")) {
		t.Errorf("at rest: %v, %d bytes", err, len(sealed))
	}
	stranger, err := keys.OpenRoot(filepath.Join(t.TempDir(), "other"), true)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := openRequestKey(t.Context(), w.db, stranger, "shop.example", start); err == nil {
		t.Error("another root opens it")
	}
	if _, err := parseRequestKey([]byte("geheim")); err == nil || strings.Contains(err.Error(), "geheim") {
		t.Errorf("of anything: %v", err)
	}
	// Of what is damaged the error says what is to be done, and shows nothing of it.
	for name, damage := range map[string]func(ctx, *store.Tx) error{
		"altered": func(ctx ctx, tx *store.Tx) error {
			bent := bytes.Clone(sealed)
			bent[len(bent)-1] ^= 1
			_, err := tx.Exec(ctx, "UPDATE sealed SET sealed = ? WHERE name = ?", bent, requestKeyName)
			return err
		},
		"no key": func(ctx ctx, tx *store.Tx) error { return w.root.Put(ctx, tx, requestKeyName, 2, []byte("geheim")) },
	} {
		if err := w.db.Tx(t.Context(), damage); err != nil {
			t.Fatal(err)
		}
		_, err := openRequestKey(t.Context(), w.db, w.root, "shop.example", start)
		if err == nil || strings.Contains(err.Error(), "geheim") {
			t.Fatalf("%s: %v", name, err)
		}
		for _, want := range []string{w.root.String(), requestKeyName, "backup", "metadata"} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %q in it", name, err, want)
			}
		}
	}
	// A reload takes it over.
	cfg := w.cfg
	cfg.Before = w.Broker
	if next := w.make(cfg); next.key != w.key {
		t.Error("a reload has another key")
	}
}
