package brokertest

import (
	"bytes"
	"compress/flate"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/beevik/etree"
	"github.com/crewjam/saml"
	dsig "github.com/russellhaering/goxmldsig"
)

// IdP is an identity provider of SAML 2.0. It has no pages: Answer makes what a
// browser would post.
type IdP struct {
	Entity      string
	Key         *rsa.PrivateKey
	Certificate *x509.Certificate
	Clock       func() time.Time
}

var samlKeys = sync.OnceValue(func() [2]*rsa.PrivateKey {
	var keys [2]*rsa.PrivateKey
	for n := range keys {
		k, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			panic(err)
		}
		keys[n] = k
	}
	return keys
})

// NewIdP returns an identity provider; n is 0 or 1: two have different keys.
func NewIdP(t testing.TB, entity string, n int, clock func() time.Time) *IdP {
	t.Helper()
	key, now := samlKeys()[n], clock()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(int64(n) + 1), Subject: pkix.Name{CommonName: "idp"}, NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(1, 0, 0),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &IdP{Entity: entity, Key: key, Certificate: certificate, Clock: clock}
}

// Metadata returns its metadata document, with further certificates if any.
func (p *IdP) Metadata(more ...*x509.Certificate) []byte {
	var keys strings.Builder
	for _, c := range append([]*x509.Certificate{p.Certificate}, more...) {
		fmt.Fprintf(&keys, `<md:KeyDescriptor use="signing"><ds:KeyInfo xmlns:ds="http://www.w3.org/2000/09/xmldsig#"><ds:X509Data><ds:X509Certificate>%s</ds:X509Certificate></ds:X509Data></ds:KeyInfo></md:KeyDescriptor>`,
			base64.StdEncoding.EncodeToString(c.Raw))
	}
	return fmt.Appendf(nil, `<?xml version="1.0" encoding="UTF-8"?>
<!-- made by hand -->
<md:EntityDescriptor xmlns:md="urn:oasis:names:tc:SAML:2.0:metadata" entityID="%s"><md:IDPSSODescriptor protocolSupportEnumeration="urn:oasis:names:tc:SAML:2.0:protocol">%s<md:NameIDFormat>urn:oasis:names:tc:SAML:2.0:nameid-format:persistent</md:NameIDFormat><md:SingleSignOnService Binding="urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST" Location="https://idp.example/post"/><md:SingleSignOnService Binding="urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect" Location="https://idp.example/sso?tenant=1"/></md:IDPSSODescriptor></md:EntityDescriptor>
`, p.Entity, keys.String())
}

// MetadataFile writes its metadata.
func (p *IdP) MetadataFile(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "idp.xml")
	if err := os.WriteFile(path, p.Metadata(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// Request reads the AuthnRequest and the RelayState of where a login begins.
func Request(t testing.TB, redirect string) (*saml.AuthnRequest, string) {
	t.Helper()
	u, err := url.Parse(redirect)
	if err != nil {
		t.Fatal(err)
	}
	packed, err := base64.StdEncoding.DecodeString(u.Query().Get("SAMLRequest"))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(flate.NewReader(bytes.NewReader(packed)))
	if err != nil {
		t.Fatal(err)
	}
	var request saml.AuthnRequest
	if err := xml.Unmarshal(text, &request); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return &request, u.Query().Get("RelayState")
}

// Answer is how an answer is made. The zero value makes a good one.
type Answer struct {
	Assertion    func(*etree.Element)       // changes it before it is signed
	Response     func(*etree.Element)       // changes the whole before it is signed, if it is
	Document     func(text string) string   // changes what is sent
	Unsigned     bool                       // the assertion
	SignResponse bool                       //
	Context      func(*dsig.SigningContext) // changes how it is signed
	Key          *rsa.PrivateKey            // nil: that of the provider
	Certificate  *x509.Certificate          //
	RelayState   *string                    // nil: as it came
}

// Elements returns a response and the assertion in it, neither signed.
func (p *IdP) Elements(request *saml.AuthnRequest) (response, assertion *etree.Element) {
	now := p.Clock().UTC()
	text := fmt.Sprintf(`<samlp:Response xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol" xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion" ID="_r%[1]s" Version="2.0" IssueInstant="%[2]s" Destination="%[3]s" InResponseTo="%[4]s"><saml:Issuer>%[5]s</saml:Issuer><samlp:Status><samlp:StatusCode Value="urn:oasis:names:tc:SAML:2.0:status:Success"/></samlp:Status><saml:Assertion xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion" xmlns:xs="http://www.w3.org/2001/XMLSchema" ID="_a%[1]s" Version="2.0" IssueInstant="%[2]s"><saml:Issuer>%[5]s</saml:Issuer><saml:Subject><saml:NameID Format="urn:oasis:names:tc:SAML:2.0:nameid-format:persistent" NameQualifier="%[5]s" SPNameQualifier="%[6]s">jane-1</saml:NameID><saml:SubjectConfirmation Method="urn:oasis:names:tc:SAML:2.0:cm:bearer"><saml:SubjectConfirmationData InResponseTo="%[4]s" Recipient="%[3]s" NotOnOrAfter="%[7]s"/></saml:SubjectConfirmation></saml:Subject><saml:Conditions NotBefore="%[2]s" NotOnOrAfter="%[7]s"><saml:AudienceRestriction><saml:Audience>%[6]s</saml:Audience></saml:AudienceRestriction></saml:Conditions><saml:AuthnStatement AuthnInstant="%[2]s" SessionIndex="s"><saml:AuthnContext><saml:AuthnContextClassRef>urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport</saml:AuthnContextClassRef></saml:AuthnContext></saml:AuthnStatement><saml:AttributeStatement><saml:Attribute Name="urn:oid:0.9.2342.19200300.100.1.3" FriendlyName="mail"><saml:AttributeValue>jane@shop.example</saml:AttributeValue></saml:Attribute><saml:Attribute Name="displayName"><saml:AttributeValue>Jane Doe</saml:AttributeValue></saml:Attribute></saml:AttributeStatement></saml:Assertion></samlp:Response>`,
		rand.Text(), now.Format(time.RFC3339), request.AssertionConsumerServiceURL, request.ID, p.Entity, request.Issuer.Value, now.Add(5*time.Minute).Format(time.RFC3339))
	document := etree.NewDocument()
	if err := document.ReadFromString(text); err != nil {
		panic(err)
	}
	return document.Root(), document.Root().FindElement("./Assertion")
}

// Answer returns the request with which a browser brings an answer.
func (p *IdP) Answer(t testing.TB, redirect string, a Answer) *http.Request {
	t.Helper()
	request, relay := Request(t, redirect)
	if a.RelayState != nil {
		relay = *a.RelayState
	}
	return Post(request.AssertionConsumerServiceURL, p.Text(t, request, a), relay)
}

// Text returns the document of an answer.
func (p *IdP) Text(t testing.TB, request *saml.AuthnRequest, a Answer) string {
	t.Helper()
	response, assertion := p.Elements(request)
	if a.Assertion != nil {
		a.Assertion(assertion)
	}
	if !a.Unsigned {
		signed := p.sign(t, assertion, a)
		n := assertion.Index()
		response.RemoveChildAt(n)
		response.InsertChildAt(n, signed)
	}
	if a.Response != nil {
		a.Response(response)
	}
	if a.SignResponse {
		response = p.sign(t, response, a)
	}
	document := etree.NewDocument()
	document.SetRoot(response)
	text, err := document.WriteToString()
	if err != nil {
		t.Fatal(err)
	}
	if a.Document != nil {
		text = a.Document(text)
	}
	return text
}

// Post is a form with a response, as a browser posts it.
func Post(acs, text, relay string) *http.Request {
	form := url.Values{"SAMLResponse": {base64.StdEncoding.EncodeToString([]byte(text))}, "RelayState": {relay}}
	r := httptest.NewRequest(http.MethodPost, acs, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return r
}

func (p *IdP) sign(t testing.TB, el *etree.Element, a Answer) *etree.Element {
	t.Helper()
	key, certificate := p.Key, p.Certificate
	if a.Key != nil {
		key, certificate = a.Key, a.Certificate
	}
	c, err := dsig.NewSigningContext(crypto.Signer(key), [][]byte{certificate.Raw})
	if err != nil {
		t.Fatal(err)
	}
	c.Canonicalizer = dsig.MakeC14N10ExclusiveCanonicalizerWithPrefixList("")
	if err := c.SetSignatureMethod(dsig.RSASHA256SignatureMethod); err != nil {
		t.Fatal(err)
	}
	if a.Context != nil {
		a.Context(c)
	}
	signed, err := c.SignEnveloped(el)
	if err != nil {
		t.Fatal(err)
	}
	// Signatures stand behind the issuer, as the schema has it.
	signature := signed.Child[len(signed.Child)-1]
	signed.RemoveChildAt(len(signed.Child) - 1)
	signed.InsertChildAt(1, signature)
	return signed
}
