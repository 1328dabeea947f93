package svid

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"net/url"
	"slices"
	"testing"
	"time"
)

// FuzzURINames: reading the names ourselves never panics, and finds the URIs
// that crypto/x509 finds.
func FuzzURINames(f *testing.F) {
	zone := newAuthority(f, testZone, time.Now())
	leaf, _ := zone.leaf("orders", time.Now(), time.Hour, func(c *x509.Certificate) {
		c.DNSNames = []string{"orders"}
		c.URIs = append(c.URIs, &url.URL{Scheme: "https", Host: "a"})
	})
	oid := asn1.ObjectIdentifier{2, 5, 29, 17}
	for _, e := range leaf.Extensions {
		if e.Id.Equal(oid) {
			f.Add(e.Value)
		}
	}
	f.Add([]byte{0x30, 0})
	f.Add([]byte{0x30, 2, 0x86, 0})
	f.Add([]byte{0x30, 0x80, 0, 0})
	f.Fuzz(func(t *testing.T, value []byte) {
		got, err := uriNames(&x509.Certificate{Extensions: []pkix.Extension{{Id: oid, Value: value}}})
		if err != nil {
			return
		}
		tmpl := &x509.Certificate{NotAfter: time.Now().Add(time.Hour), ExtraExtensions: []pkix.Extension{{Id: oid, Value: value}}}
		key := zone.midKey
		tmpl.SerialNumber = zone.mid.SerialNumber
		der, err := x509.CreateCertificate(nil, tmpl, zone.mid, &key.PublicKey, key)
		if err != nil {
			return
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return
		}
		var want []string
		for _, u := range cert.URIs {
			want = append(want, u.String())
		}
		if len(got) != len(want) {
			t.Fatalf("%x: %q, x509 finds %q", value, got, want)
		}
		for i := range got { // x509's are normalised
			if u, err := url.Parse(got[i]); err != nil || !slices.Contains(want, u.String()) {
				t.Fatalf("%x: %q, x509 finds %q", value, got, want)
			}
		}
	})
}
