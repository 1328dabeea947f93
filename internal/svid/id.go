package svid

import (
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"strings"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

// ID is a SPIFFE ID. Two are the same workload when they are equal (==).
type ID = spiffeid.ID

// ServiceID returns spiffe://ZONE/NAME.
func ServiceID(zone, name string) (ID, error) {
	id, err := parseID("spiffe://" + zone + "/" + name)
	if err != nil {
		return ID{}, fmt.Errorf("svid: no SPIFFE ID for %q in the zone %q: %w", name, zone, err)
	}
	if id.TrustDomain().Name() != zone || strings.Contains(name, "/") {
		return ID{}, fmt.Errorf("svid: no SPIFFE ID for %q in the zone %q: want one name in one trust domain", name, zone)
	}
	return id, nil
}

// parseID reads a SPIFFE ID as it stands: nothing is decoded or normalised, so
// that two spellings are never the same workload.
func parseID(s string) (ID, error) {
	if len(s) > maxID {
		return ID{}, fmt.Errorf("%d bytes are more than a SPIFFE ID has", len(s))
	}
	return spiffeid.FromString(s)
}

// idOf returns the SPIFFE ID of a certificate: its only URI name. It reads the
// extension itself, since crypto/x509 hands out parsed URLs: their schemes are
// in lower case and an empty fragment is gone.
func idOf(cert *x509.Certificate) (ID, error) {
	uris, err := uriNames(cert)
	if err != nil {
		return ID{}, err
	}
	if len(uris) != 1 {
		return ID{}, fmt.Errorf("the certificate has %d URI names, want one (X509-SVID section 2)", len(uris))
	}
	id, err := parseID(uris[0])
	if err != nil {
		return ID{}, fmt.Errorf("the URI name %.80q is no SPIFFE ID: %w", uris[0], err)
	}
	return id, nil
}

var errNames = errors.New("the subject alternative names are malformed")

// uriNames returns the URIs among the subject alternative names (RFC 5280
// section 4.2.1.6), as they stand.
func uriNames(cert *x509.Certificate) ([]string, error) {
	const tagURI = 6
	var uris []string
	for _, ext := range cert.Extensions {
		if !ext.Id.Equal(asn1.ObjectIdentifier{2, 5, 29, 17}) {
			continue
		}
		var list asn1.RawValue
		rest, err := asn1.Unmarshal(ext.Value, &list)
		if err != nil || len(rest) > 0 || list.Class != asn1.ClassUniversal || list.Tag != asn1.TagSequence {
			return nil, errNames
		}
		for rest = list.Bytes; len(rest) > 0; {
			var name asn1.RawValue
			if rest, err = asn1.Unmarshal(rest, &name); err != nil {
				return nil, errNames
			}
			if name.Class == asn1.ClassContextSpecific && name.Tag == tagURI {
				uris = append(uris, string(name.Bytes))
			}
		}
	}
	return uris, nil
}
