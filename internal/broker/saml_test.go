package broker

import (
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"sallyport.dev/internal/broker/brokertest"
	"sallyport.dev/internal/problem"
	"sallyport.dev/zone"
)

const entity = "https://idp.example/metadata"

func samlOf(t *testing.T, p *brokertest.IdP) zone.Provider {
	t.Helper()
	return zone.Provider{Name: "saml", Kind: KindSAML, Metadata: p.MetadataFile(t)}
}

func newSAMLWorld(t *testing.T) (*world, *brokertest.IdP) {
	t.Helper()
	c := &clock{}
	p := brokertest.NewIdP(t, entity, 0, c.now)
	return newWorld(t, c, samlOf(t, p)), p
}

func TestSAMLLogin(t *testing.T) {
	w, p := newSAMLWorld(t)
	want := Claims{
		Provider: "saml", Issuer: "saml:" + entity, Subject: "jane-1", Email: "jane@shop.example", Name: "Jane Doe", AuthTime: start,
		ACR: "urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport",
	}
	for name, a := range map[string]brokertest.Answer{"assertion signed": {}, "both signed": {SignResponse: true}} {
		got, err := w.answered(p, a)
		check(t, err, problem.OK)
		if got != want {
			t.Errorf("%s: got %+v, want %+v", name, got, want)
		}
	}
}

func TestSAMLRequest(t *testing.T) {
	w, _ := newSAMLWorld(t)
	redirect, s := w.begin("saml", Ask{Handle: "flow-1", Fresh: true})
	request, relay := brokertest.Request(t, redirect)
	if relay != "flow-1" || request.ID != s.Request || len(request.ID) < 20 {
		t.Errorf("RelayState %q, ID %q, state %s", relay, request.ID, s.Request)
	}
	if request.ForceAuthn == nil || !*request.ForceAuthn || request.Destination != "https://idp.example/sso?tenant=1" ||
		request.AssertionConsumerServiceURL != base+"/auth/providers/saml/acs" || request.Issuer.Value != base+"/auth/providers/saml/metadata" ||
		*request.NameIDPolicy.Format != "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent" || !request.IssueInstant.Equal(start) {
		t.Errorf("request %+v", request)
	}
	if !strings.HasPrefix(redirect, "https://idp.example/sso?tenant=1&SAMLRequest=") {
		t.Errorf("redirect %s", redirect)
	}
}

const (
	data       = "./Subject/SubjectConfirmation/SubjectConfirmationData"
	conditions = "./Conditions"
	nameID     = "./Subject/NameID"
)

func TestPost(t *testing.T) {
	w, p := newSAMLWorld(t)
	for _, k := range []struct {
		name   string
		change func(r *http.Request, form url.Values) *http.Request
		want   problem.Reason
	}{
		{"good", func(r *http.Request, _ url.Values) *http.Request { return r }, problem.OK},
		{"broken lines", func(_ *http.Request, f url.Values) *http.Request {
			s := f.Get("SAMLResponse")
			f.Set("SAMLResponse", s[:76]+"\r\n"+s[76:])
			return posted(f, "")
		}, problem.OK},
		{"another flow", func(_ *http.Request, f url.Values) *http.Request {
			f.Set("RelayState", "another")
			return posted(f, "")
		}, problem.ProviderInvalid},
		{"no flow", func(_ *http.Request, f url.Values) *http.Request { f.Del("RelayState"); return posted(f, "") }, problem.ProviderInvalid},
		{"two flows", func(_ *http.Request, f url.Values) *http.Request {
			f.Add("RelayState", "another")
			return posted(f, "")
		}, problem.ProviderInvalid},
		{"two responses", func(_ *http.Request, f url.Values) *http.Request {
			f.Add("SAMLResponse", f.Get("SAMLResponse"))
			return posted(f, "")
		}, problem.ProviderInvalid},
		{"no response", func(_ *http.Request, f url.Values) *http.Request { f.Del("SAMLResponse"); return posted(f, "") }, problem.ProviderInvalid},
		{"no base64", func(_ *http.Request, f url.Values) *http.Request { f.Set("SAMLResponse", "<"); return posted(f, "") }, problem.ProviderInvalid},
		{"as JSON", func(_ *http.Request, f url.Values) *http.Request { return posted(f, "application/json") }, problem.ProviderInvalid},
		{"by GET", func(r *http.Request, f url.Values) *http.Request {
			return httptest.NewRequest(http.MethodGet, r.URL.String()+"?"+f.Encode(), nil)
		}, problem.ProviderInvalid},
	} {
		t.Run(k.name, func(t *testing.T) {
			redirect, s := w.begin("saml", Ask{})
			request, relay := brokertest.Request(t, redirect)
			answer := p.Text(t, request, brokertest.Answer{})
			form := url.Values{"SAMLResponse": {base64.StdEncoding.EncodeToString([]byte(answer))}, "RelayState": {relay}}
			r := k.change(posted(form, ""), form)
			if got := HandleOf(r); k.want == problem.OK && got != s.Handle { // it reads the body, and Finish has it still
				t.Errorf("handle %q, want %q", got, s.Handle)
			}
			_, err := w.Finish(t.Context(), "saml", s, r)
			check(t, err, k.want)
		})
	}
}

func posted(form url.Values, media string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, base+"/auth/providers/saml/acs", strings.NewReader(form.Encode()))
	if media == "" {
		media = "application/x-www-form-urlencoded"
	}
	r.Header.Set("Content-Type", media)
	return r
}
