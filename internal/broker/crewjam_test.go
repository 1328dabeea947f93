package broker

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/xml"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/crewjam/saml"
	dsig "github.com/russellhaering/goxmldsig"

	"sallyport.dev/internal/broker/brokertest"
	"sallyport.dev/internal/problem"
	"sallyport.dev/zone"
)

// theirs is an identity provider that others wrote: it judges our request and our
// metadata, and we its answer.
type theirs struct {
	saml.IdentityProvider
	ours *saml.EntityDescriptor
}

func (p *theirs) GetServiceProvider(_ *http.Request, id string) (*saml.EntityDescriptor, error) {
	if id != p.ours.EntityID {
		return nil, os.ErrNotExist
	}
	return p.ours, nil
}

func (p *theirs) GetSession(http.ResponseWriter, *http.Request, *saml.IdpAuthnRequest) *saml.Session {
	now := time.Now()
	return &saml.Session{
		ID: rand.Text(), CreateTime: now, ExpireTime: now.Add(time.Hour), Index: "1", NameID: "jane-1",
		NameIDFormat: string(saml.PersistentNameIDFormat), UserEmail: "jane@shop.example", UserCommonName: "Jane Doe",
	}
}

// TestAnotherImplementation uses the time of day, as that one does.
func TestAnotherImplementation(t *testing.T) {
	signer := brokertest.NewIdP(t, "unused", 0, time.Now)
	p := &theirs{IdentityProvider: saml.IdentityProvider{
		Key: signer.Key, Certificate: signer.Certificate, SignatureMethod: dsig.RSASHA256SignatureMethod,
		MetadataURL: url.URL{Scheme: "https", Host: "idp.example", Path: "/metadata"}, SSOURL: url.URL{Scheme: "https", Host: "idp.example", Path: "/sso"},
	}}
	p.ServiceProviderProvider, p.SessionProvider = p, p
	metadata, err := xml.Marshal(p.Metadata())
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "idp.xml")
	if err := os.WriteFile(path, metadata, 0o600); err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, &clock{}, zone.Provider{Name: "saml", Kind: KindSAML, Metadata: path})
	cfg := w.cfg
	cfg.Clock = time.Now
	w.Broker = w.make(cfg)
	own, err := w.Metadata("saml")
	if err != nil {
		t.Fatal(err)
	}
	p.ours = &saml.EntityDescriptor{}
	if err := xml.Unmarshal(own, p.ours); err != nil {
		t.Fatal(err)
	}
	role := p.ours.SPSSODescriptors[0]
	if !*role.WantAssertionsSigned || !*role.AuthnRequestsSigned || len(role.KeyDescriptors) != 1 || role.KeyDescriptors[0].Use != "signing" || role.AssertionConsumerServices[0].Location != base+"/auth/providers/saml/acs" {
		t.Errorf("our metadata: %s", own)
	}
	redirect, s := w.begin("saml", Ask{})
	page := httptest.NewRecorder()
	p.Handler().ServeHTTP(page, httptest.NewRequest(http.MethodGet, redirect, nil))
	_, rest, found := strings.Cut(page.Body.String(), `name="SAMLResponse" value="`)
	value, _, _ := strings.Cut(rest, `"`)
	if !found || page.Code != http.StatusOK {
		t.Fatalf("it answered %d: %s", page.Code, page.Body)
	}
	// Its own encryption is for those who publish a key; we publish none.
	text, err := base64.StdEncoding.DecodeString(strings.ReplaceAll(value, "&#43;", "+"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := w.Finish(t.Context(), "saml", s, brokertest.Post(base+"/auth/providers/saml/acs", string(text), s.Handle))
	check(t, err, problem.OK)
	if got.Subject != "jane-1" || got.Email != "jane@shop.example" || got.Name != "Jane Doe" || got.Issuer != "saml:https://idp.example/metadata" {
		t.Errorf("got %+v", got)
	}
	if !strings.HasPrefix(string(own), "<?xml") {
		t.Errorf("our metadata: %s", own)
	}
}
