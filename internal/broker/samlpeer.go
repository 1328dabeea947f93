package broker

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/crewjam/saml"

	"sallyport.dev/internal/jws"
	"sallyport.dev/internal/outward"
)

// peer is what the metadata of a provider say (SAML 2.0 metadata section 2.4.3).
// Its certificates are the only ones that sign for it.
type peer struct {
	entity       string
	place        string // of its single sign-on service
	certificates []*x509.Certificate
	persistent   bool // it knows persistent name ids
	until        time.Time
}

const maxCertificates = 8

// parsePeer reads metadata: of one entity, or of many of which entity is one.
func parsePeer(data []byte, entity string) (*peer, error) {
	root, err := parseXML(data, maxMetadata, true)
	if err != nil {
		return nil, err
	}
	var all []saml.EntityDescriptor
	switch root.Tag {
	case "EntityDescriptor":
		all = make([]saml.EntityDescriptor, 1)
		err = xml.Unmarshal(data, &all[0])
	case "EntitiesDescriptor":
		var many saml.EntitiesDescriptor
		err = xml.Unmarshal(data, &many)
		all = many.EntityDescriptors
		for n := range all { // the end of the whole is the end of each
			if of := many.ValidUntil; of != nil && (all[n].ValidUntil.IsZero() || of.Before(all[n].ValidUntil)) {
				all[n].ValidUntil = *of
			}
		}
	default:
		err = fmt.Errorf("it is %q, no metadata", outward.Clip(root.Tag))
	}
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(d saml.EntityDescriptor) bool {
		return len(d.IDPSSODescriptors) == 0 || entity != "" && d.EntityID != entity
	})
	if len(all) != 1 {
		return nil, fmt.Errorf("%d identity providers in it fit, want one (entity_id: %q)", len(all), entity)
	}
	return newPeer(&all[0])
}

func newPeer(d *saml.EntityDescriptor) (*peer, error) {
	if d.EntityID == "" || len(d.EntityID) > 1024 || !isLine(d.EntityID) {
		return nil, errors.New("its entityID is missing or too long")
	}
	if len(d.IDPSSODescriptors) != 1 {
		return nil, fmt.Errorf("it has %d IDPSSODescriptors", len(d.IDPSSODescriptors))
	}
	role := d.IDPSSODescriptors[0]
	p := &peer{entity: d.EntityID, until: d.ValidUntil}
	if role.ValidUntil != nil && (p.until.IsZero() || role.ValidUntil.Before(p.until)) {
		p.until = *role.ValidUntil
	}
	if !slices.Contains(strings.Fields(role.ProtocolSupportEnumeration), protocolNamespace) {
		return nil, errors.New("it does not speak SAML 2.0")
	}
	for _, service := range role.SingleSignOnServices {
		if service.Binding == saml.HTTPRedirectBinding && p.place == "" {
			p.place = service.Location
		}
	}
	if err := securePlace(p.place); err != nil {
		return nil, fmt.Errorf("its SingleSignOnService of the HTTP-Redirect binding, %q: %w", outward.Clip(p.place), err)
	}
	p.persistent = slices.Contains(role.NameIDFormats, saml.PersistentNameIDFormat)
	for _, k := range role.KeyDescriptors {
		if k.Use != "" && k.Use != "signing" {
			continue
		}
		for _, text := range k.KeyInfo.X509Data.X509Certificates {
			certificate, err := parseCertificate(text.Data)
			if err != nil {
				return nil, fmt.Errorf("a certificate of it: %w", err)
			}
			p.certificates = append(p.certificates, certificate)
		}
	}
	if n := len(p.certificates); n == 0 || n > maxCertificates {
		return nil, fmt.Errorf("it has %d certificates for signatures, want 1 to %d", n, maxCertificates)
	}
	return p, nil
}

// securePlace is where users are sent. Plain http is for loopback alone.
func securePlace(place string) error {
	u, err := url.Parse(place)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.Fragment != "" || len(place) > 2000:
		return errors.New("missing, or no url")
	case u.Scheme == "https", u.Scheme == "http" && outward.Loopback(u.Hostname()):
		return nil
	default:
		return errors.New("not https")
	}
}

func parseCertificate(text string) (*x509.Certificate, error) {
	der, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(text), ""))
	if err != nil {
		return nil, err
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	switch k := certificate.PublicKey.(type) {
	case *rsa.PublicKey:
		if jws.StrongRSA(k) == nil {
			return certificate, nil
		}
	case *ecdsa.PublicKey:
		if k.Curve == elliptic.P256() || k.Curve == elliptic.P384() || k.Curve == elliptic.P521() {
			return certificate, nil
		}
	}
	return nil, errors.New("its key is weak or of a kind that is not taken")
}
