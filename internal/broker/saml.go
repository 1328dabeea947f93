package broker

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/crewjam/saml"

	"sallyport.dev/internal/outward"
	"sallyport.dev/internal/store"
	"sallyport.dev/zone"
)

// samlProvider is an identity provider of SAML 2.0, asked with the HTTP-Redirect
// binding, answering with the HTTP-POST binding.
type samlProvider struct {
	zone.Provider
	entity   string // our own: the address of our metadata
	key      *requestKey
	own      []byte          // our metadata
	acs      string          // where answers go
	client   *outward.Client // asks for the metadata; nil with fixed
	db       *store.DB
	clock    func() time.Time
	fixed    *peer // of a file; nil: the metadata is fetched
	metadata *outward.Document[*peer]
}

func newSAML(p zone.Provider, cfg *Config, key *requestKey) (protocol, error) {
	if p.Metadata == "" {
		return nil, errors.New("no metadata")
	}
	s := &samlProvider{
		Provider: p, entity: callback(cfg.Base, p.Name, "metadata"), acs: callback(cfg.Base, p.Name, "acs"), key: key, db: cfg.DB, clock: cfg.Clock,
	}
	var err error
	if s.own, err = ownMetadata(s.entity, s.acs, s.key); err != nil {
		return nil, err
	}
	if !strings.Contains(p.Metadata, "://") {
		data, err := outward.ReadFile(p.Metadata, maxMetadata)
		if err != nil {
			return nil, fmt.Errorf("metadata: %w", err)
		}
		if s.fixed, err = parsePeer(data, p.EntityID); err != nil {
			return nil, fmt.Errorf("metadata %s: %w", p.Metadata, err)
		}
		return s, nil
	}
	if p.EntityID == "" { // who answers there could name itself as any other
		return nil, errors.New("metadata by url without entity_id")
	}
	if s.client, err = outward.NewClient(p.Metadata, cfg.outward(p)); err != nil {
		return nil, fmt.Errorf("metadata: %w", err)
	}
	s.metadata = &outward.Document[*peer]{Fetch: s.fetch, Clock: cfg.Clock, Refresh: discoveryTime, Keep: keepTime, Timeout: max(lookTime, cfg.Timeout)}
	return s, nil
}

func (p *samlProvider) fetch(ctx context.Context) (*peer, error) {
	data, _, err := p.client.Get(ctx, p.Metadata, "Accept", "application/samlmetadata+xml, application/xml, text/xml")
	if err != nil {
		return nil, err
	}
	found, err := parsePeer(data, p.EntityID)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", outward.Clip(p.Metadata), err)
	}
	return found, nil
}

func (p *samlProvider) takeOver(old protocol) {
	if before, ok := old.(*samlProvider); ok && p.metadata != nil && before.metadata != nil {
		p.metadata.TakeOver(before.metadata)
	}
}

// peer returns the provider's metadata, unless they are past their own end.
func (p *samlProvider) peer(ctx context.Context) (*peer, error) {
	found := p.fixed
	if found == nil {
		var err error
		if found, err = p.metadata.Get(ctx); err != nil {
			return nil, err
		}
	}
	if !found.until.IsZero() && !p.clock().Before(found.until) {
		return nil, fmt.Errorf("the metadata of %q were valid until %s", found.entity, found.until)
	}
	return found, nil
}

// issuer is apart from those of other kinds: an entity id may be an address that
// is an OpenID issuer too, and their subjects have nothing to do with each other.
func (p *samlProvider) issuer(ctx context.Context) (string, error) {
	found, err := p.peer(ctx)
	if err != nil {
		return "", err
	}
	return "saml:" + found.entity, nil
}

func (p *samlProvider) place() string {
	if p.fixed != nil {
		return p.fixed.place
	}
	if found, has := p.metadata.Peek(); has {
		return found.place
	}
	return p.Metadata
}

func (p *samlProvider) begin(ctx context.Context, s *State) (string, error) {
	found, err := p.peer(ctx)
	if err != nil {
		return "", err
	}
	s.Request = "_" + rand.Text()
	yes := true
	request := saml.AuthnRequest{
		ID: s.Request, Version: "2.0", IssueInstant: p.clock().UTC(), Destination: found.place,
		Issuer:                      &saml.Issuer{Value: p.entity},
		AssertionConsumerServiceURL: p.acs, ProtocolBinding: saml.HTTPPostBinding,
		NameIDPolicy: &saml.NameIDPolicy{AllowCreate: &yes},
	}
	if found.persistent { // others take it for an error
		format := string(saml.PersistentNameIDFormat)
		request.NameIDPolicy.Format = &format
	}
	if s.Fresh {
		request.ForceAuthn = &yes
	}
	return p.key.redirect(found.place, request.Element(), s.Handle)
}

func (p *samlProvider) finish(ctx context.Context, s *State, r *http.Request) (Claims, error) {
	data, err := response(s, r)
	if err != nil {
		return Claims{}, err
	}
	found, err := p.peer(ctx)
	if err != nil {
		return Claims{}, err
	}
	now := p.clock()
	a, err := found.read(data, expected{entity: p.entity, acs: p.acs, request: s.Request, now: now})
	if err != nil {
		return Claims{}, err
	}
	if err := p.once(ctx, found.entity, a, now); err != nil {
		return Claims{}, err
	}
	return a.claims(), nil
}

// response returns the document that was posted in answer to a flow.
func response(s *State, r *http.Request) ([]byte, error) {
	if r.Method != http.MethodPost {
		return nil, invalid("the answer came by %s", outward.Clip(r.Method))
	}
	values, err := form(r)
	if err != nil {
		return nil, invalid("%w", err)
	}
	handle, _, err := single(values, "RelayState")
	if err != nil {
		return nil, invalid("%w", err)
	}
	if subtle.ConstantTimeCompare([]byte(handle), []byte(s.Handle)) != 1 || s.Handle == "" {
		return nil, invalid("the answer has the RelayState of another flow")
	}
	texts := values["SAMLResponse"]
	if len(texts) != 1 {
		return nil, invalid("SAMLResponse is there %d times", len(texts))
	}
	text := strings.Map(func(c rune) rune {
		if c == '\r' || c == '\n' || c == ' ' || c == '\t' { // RFC 2045 breaks lines
			return -1
		}
		return c
	}, texts[0])
	data, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil {
		return nil, invalid("SAMLResponse is not base64")
	}
	if len(data) > maxResponse {
		return nil, invalid("a response of %d bytes is longer than %d", len(data), maxResponse)
	}
	return data, nil
}

// ownMetadata is what a provider must know of us, signed.
func ownMetadata(entity, acs string, key *requestKey) ([]byte, error) {
	type keyInfo struct {
		XMLName     xml.Name `xml:"http://www.w3.org/2000/09/xmldsig# KeyInfo"`
		Certificate string   `xml:"X509Data>X509Certificate"`
	}
	type signer struct {
		Use string `xml:"use,attr"`
		Key keyInfo
	}
	type endpoint struct {
		Binding   string `xml:"Binding,attr"`
		Location  string `xml:"Location,attr"`
		Index     int    `xml:"index,attr"`
		IsDefault bool   `xml:"isDefault,attr"`
	}
	type role struct {
		Protocol       string   `xml:"protocolSupportEnumeration,attr"`
		RequestsSigned bool     `xml:"AuthnRequestsSigned,attr"`
		WantSigned     bool     `xml:"WantAssertionsSigned,attr"`
		Key            signer   `xml:"KeyDescriptor"`
		Formats        []string `xml:"NameIDFormat"`
		ACS            endpoint `xml:"AssertionConsumerService"`
	}
	document := struct {
		XMLName xml.Name `xml:"urn:oasis:names:tc:SAML:2.0:metadata EntityDescriptor"`
		ID      string   `xml:"ID,attr"`
		Entity  string   `xml:"entityID,attr"`
		Role    role     `xml:"SPSSODescriptor"`
	}{ID: "_metadata", Entity: entity, Role: role{
		Protocol: protocolNamespace, RequestsSigned: true, WantSigned: true,
		Key:     signer{"signing", keyInfo{Certificate: base64.StdEncoding.EncodeToString(key.certificate.Raw)}},
		Formats: []string{string(saml.PersistentNameIDFormat), string(saml.EmailAddressNameIDFormat), string(saml.UnspecifiedNameIDFormat)},
		ACS:     endpoint{saml.HTTPPostBinding, acs, 0, true},
	}}
	data, err := xml.MarshalIndent(document, "", "  ")
	if err == nil {
		data, err = key.sign(append([]byte(xml.Header), data...))
	}
	if err != nil {
		return nil, fmt.Errorf("our metadata: %w", err)
	}
	return append(data, '\n'), nil
}
