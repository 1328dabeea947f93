package broker

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/crewjam/saml"

	"sallyport.dev/internal/broker/brokertest"
)

// FuzzResponse: of whatever document, no other user comes than the one whom the
// provider signed, and nothing panics.
func FuzzResponse(f *testing.F) {
	c := &clock{}
	p := brokertest.NewIdP(f, entity, 0, c.now)
	found, err := parsePeer(p.Metadata(), "")
	if err != nil {
		f.Fatal(err)
	}
	want := expected{entity: base + "/auth/providers/saml/metadata", acs: base + "/auth/providers/saml/acs", request: "_flow", now: start}
	request := &saml.AuthnRequest{ID: "_flow", AssertionConsumerServiceURL: want.acs, Issuer: &saml.Issuer{Value: want.entity}}
	good := p.Text(f, request, brokertest.Answer{})
	if a, err := found.read([]byte(good), want); err != nil || a.subject != "jane-1" {
		f.Fatalf("positive control: %v", err)
	}
	f.Add([]byte(good))
	f.Add([]byte(p.Text(f, request, brokertest.Answer{SignResponse: true})))
	f.Add([]byte(p.Text(f, request, brokertest.Answer{Unsigned: true})))
	f.Add([]byte(strings.Replace(good, ">jane-1<", ">jane<!-- -->-1<", 1)))
	f.Add([]byte("<!DOCTYPE r>" + good))
	f.Add([]byte(`<samlp:Response xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol"/>`))
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := found.read(data, want)
		if err == nil && (a.subject != "jane-1" || a.email != "jane@shop.example") {
			t.Errorf("somebody else: %+v of %q", a, data)
		}
	})
}

// FuzzMetadata: of whatever document, a provider has certificates and an address
// that users may be sent to.
func FuzzMetadata(f *testing.F) {
	p := brokertest.NewIdP(f, entity, 0, (&clock{}).now)
	f.Add(p.Metadata(), "")
	f.Add([]byte(`<EntitiesDescriptor xmlns="urn:oasis:names:tc:SAML:2.0:metadata"/>`), entity)
	f.Fuzz(func(t *testing.T, data []byte, id string) {
		found, err := parsePeer(data, id)
		if err == nil && (found.entity == "" || id != "" && found.entity != id || len(found.certificates) == 0 || securePlace(found.place) != nil) {
			t.Errorf("%+v of %q", found, data)
		}
	})
}

// FuzzCallback: of whatever query, only the state of the flow counts, and what is
// taken is there once.
func FuzzCallback(f *testing.F) {
	f.Add("code=a&state=flow&iss=https%3A%2F%2Fsso.example")
	f.Add("error=access_denied&error_description=no&state=flow")
	f.Add("code=a&code=b&state=flow")
	f.Add("code=%zz;&&=&state")
	f.Fuzz(func(t *testing.T, raw string) {
		r := httptest.NewRequest(http.MethodGet, "/auth/providers/sso/callback", nil)
		r.URL.RawQuery = raw
		if h := HandleOf(r); h != "" && !isHandle(h) {
			t.Errorf("handle %q of %q", h, raw)
		}
		a, err := parseAnswer(r)
		if err != nil {
			return
		}
		values, err := url.ParseQuery(raw)
		if err != nil || len(values["code"])+len(values["error"]) < 1 || len(values["state"]) > 1 || (a.code == "") == (a.failed == "") {
			t.Errorf("%+v of %q", a, raw)
		}
		if a.of(&State{Handle: "flow"}) == nil && values.Get("state") != "flow" || a.of(&State{}) == nil {
			t.Errorf("state %q is of the flow", a.state)
		}
	})
}
