package broker

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"sallyport.dev/internal/broker/brokertest"
	"sallyport.dev/internal/problem"
	"sallyport.dev/zone"
)

func TestMetadata(t *testing.T) {
	c := &clock{}
	p, other := brokertest.NewIdP(t, entity, 0, c.now), brokertest.NewIdP(t, "urn:other", 1, c.now)
	text := string(p.Metadata())
	inner := text[strings.Index(text, "<md:"):]
	innerOther := string(other.Metadata())
	innerOther = innerOther[strings.Index(innerOther, "<md:"):]
	many := `<md:EntitiesDescriptor xmlns:md="urn:oasis:names:tc:SAML:2.0:metadata">` + inner + innerOther + `</md:EntitiesDescriptor>`
	for _, k := range []struct {
		name, text, entity string
		fine               bool
	}{
		{"good", text, "", true},
		{"named", text, entity, true},
		{"of another", text, "urn:other", false},
		{"one of two", many, entity, true},
		{"the other of two", many, "urn:other", true},
		{"any of two", many, "", false},
		{"two certificates", string(p.Metadata(other.Certificate)), "", true},
		{"no certificate", strings.ReplaceAll(text, `use="signing"`, `use="encryption"`), "", false},
		{"no use", strings.ReplaceAll(text, ` use="signing"`, ``), "", true},
		{"bad certificate", strings.Replace(text, "<ds:X509Certificate>", "<ds:X509Certificate>AAAA", 1), "", false},
		{"no redirect binding", strings.Replace(text, "HTTP-Redirect", "HTTP-Artifact", 1), "", false},
		{"over http", strings.Replace(text, "https://idp.example/sso", "http://idp.example/sso", 1), "", false},
		{"over http on this host", strings.Replace(text, "https://idp.example/sso", "http://127.0.0.1:9/sso", 1), "", true},
		{"no provider", strings.ReplaceAll(text, "IDPSSO", "SPSSO"), "", false},
		{"SAML 1.1", strings.Replace(text, "SAML:2.0:protocol", "SAML:1.1:protocol", 1), "", false},
		{"document type", "<!DOCTYPE x>" + inner, "", false},
		{"no metadata", "<html/>", "", false},
		{"empty", "", "", false},
	} {
		if _, err := parsePeer([]byte(k.text), k.entity); (err == nil) != k.fine {
			t.Errorf("%s: %v", k.name, err)
		}
	}
	ended := strings.Replace(text, "entityID=", `validUntil="`+after(time.Hour)+`" entityID=`, 1)
	path := filepath.Join(t.TempDir(), "idp.xml")
	if err := os.WriteFile(path, []byte(ended), 0o600); err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, c, zone.Provider{Name: "saml", Kind: KindSAML, Metadata: path})
	_, err := w.answered(p, brokertest.Answer{})
	check(t, err, problem.OK)
	c.advance(time.Hour)
	_, _, err = w.Begin(t.Context(), "saml", Ask{})
	check(t, err, problem.ProviderUnavailable)
}

// TestMetadataByURL: metadata are fetched, refreshed, and of one entity only.
func TestMetadataByURL(t *testing.T) {
	c := &clock{}
	p, next := brokertest.NewIdP(t, entity, 0, c.now), brokertest.NewIdP(t, entity, 1, c.now)
	var mu sync.Mutex
	document := p.Metadata()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		_, _ = w.Write(document)
	}))
	defer server.Close()
	set := func(d []byte) {
		mu.Lock()
		defer mu.Unlock()
		document = d
	}
	w := newWorld(t, c, zone.Provider{Name: "saml", Kind: KindSAML, Metadata: server.URL, EntityID: entity})
	_, err := w.answered(p, brokertest.Answer{})
	check(t, err, problem.OK)
	_, err = w.answered(next, brokertest.Answer{})
	check(t, err, problem.ProviderInvalid)
	set(next.Metadata())
	c.advance(discoveryTime)
	_, err = w.answered(next, brokertest.Answer{})
	check(t, err, problem.OK)
	_, err = w.answered(p, brokertest.Answer{}) // its key was taken back
	check(t, err, problem.ProviderInvalid)
	set([]byte(strings.ReplaceAll(string(p.Metadata()), entity, "https://accounts.example")))
	c.advance(keepTime)
	_, _, err = w.Begin(t.Context(), "saml", Ask{})
	check(t, err, problem.ProviderUnavailable)
}
