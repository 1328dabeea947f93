package broker

import (
	"strings"
	"testing"

	"github.com/beevik/etree"
	dsig "github.com/russellhaering/goxmldsig"

	"sallyport.dev/internal/broker/brokertest"
	"sallyport.dev/internal/problem"
)

// TestSignature: only the provider says who it is, of the assertion itself, with
// strong algorithms.
func TestSignature(t *testing.T) {
	w, p := newSAMLWorld(t)
	stranger := brokertest.NewIdP(t, entity, 1, w.clock.now)
	method := func(m string) func(*dsig.SigningContext) {
		return func(c *dsig.SigningContext) {
			if err := c.SetSignatureMethod(m); err != nil {
				panic(err)
			}
		}
	}
	replace := func(pairs ...string) func(string) string {
		return func(s string) string {
			out := strings.NewReplacer(pairs...).Replace(s)
			if out == s {
				panic("nothing replaced")
			}
			return out
		}
	}
	for _, k := range []struct {
		name   string
		answer brokertest.Answer
		want   problem.Reason
	}{
		{"good", brokertest.Answer{}, problem.OK},
		{"RSA with SHA-512", brokertest.Answer{Context: method(dsig.RSASHA512SignatureMethod)}, problem.OK},
		{"unsigned", brokertest.Answer{Unsigned: true}, problem.ProviderInvalid},
		{"only the response signed", brokertest.Answer{Unsigned: true, SignResponse: true}, problem.ProviderInvalid},
		{"signature stripped", brokertest.Answer{Response: drop("./Assertion/Signature")}, problem.ProviderInvalid},
		{"a stranger's", brokertest.Answer{Key: stranger.Key, Certificate: stranger.Certificate}, problem.ProviderInvalid},
		{"a stranger's with our certificate", brokertest.Answer{Key: stranger.Key, Certificate: p.Certificate}, problem.ProviderInvalid},
		{"ours with a stranger's certificate", brokertest.Answer{Key: p.Key, Certificate: stranger.Certificate}, problem.OK}, // what it says of its key counts for nothing
		{"without certificate", brokertest.Answer{Response: drop("./Assertion/Signature/KeyInfo")}, problem.OK},
		{"SHA-1", brokertest.Answer{Context: method(dsig.RSASHA1SignatureMethod)}, problem.ProviderInvalid},
		{"inclusive canonicalization", brokertest.Answer{Context: func(c *dsig.SigningContext) { c.Canonicalizer = dsig.MakeC14N11Canonicalizer() }}, problem.ProviderInvalid},
		{"name changed", brokertest.Answer{Document: replace(">jane-1<", ">root<")}, problem.ProviderInvalid},
		{"address changed", brokertest.Answer{Document: replace("jane@shop", "root@shop")}, problem.ProviderInvalid},
		{"time changed", brokertest.Answer{Document: replace(`AuthnInstant="2026`, `AuthnInstant="2025`)}, problem.ProviderInvalid},
		{"digest changed", brokertest.Answer{Document: replace("<ds:DigestValue>", "<ds:DigestValue>AAAA")}, problem.ProviderInvalid},
		{"whole document referenced", brokertest.Answer{Response: attr("./Assertion/Signature/SignedInfo/Reference", "URI", "")}, problem.ProviderInvalid},
		{"transform added", brokertest.Answer{Response: add("./Assertion/Signature/SignedInfo/Reference/Transforms", `<ds:Transform xmlns:ds="http://www.w3.org/2000/09/xmldsig#" Algorithm="http://www.w3.org/TR/1999/REC-xpath-19991116"/>`)}, problem.ProviderInvalid},
		{"object in the signature", brokertest.Answer{Response: add("./Assertion/Signature", `<ds:Object xmlns:ds="http://www.w3.org/2000/09/xmldsig#"/>`)}, problem.ProviderInvalid},
		{"second SignedInfo", brokertest.Answer{Response: add("./Assertion/Signature", `<ds:SignedInfo xmlns:ds="http://www.w3.org/2000/09/xmldsig#"/>`)}, problem.ProviderInvalid},
		{"response changed after it was signed", brokertest.Answer{SignResponse: true, Document: replace(`Destination="https`, `Destination="httpS`)}, problem.ProviderInvalid},
		{"encrypted", brokertest.Answer{Response: func(el *etree.Element) {
			drop("./Assertion")(el)
			add(".", `<saml:EncryptedAssertion xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion"/>`)(el)
		}}, problem.ProviderInvalid},
	} {
		t.Run(k.name, func(t *testing.T) {
			_, err := w.answered(p, k.answer)
			check(t, err, k.want)
		})
	}
	if !strings.Contains(w.log.String(), "encrypted, which is not taken") {
		t.Error("the log does not say what to do about encrypted assertions")
	}
}

// TestWrapping: a signed assertion that is somewhere does not make another one true.
func TestWrapping(t *testing.T) {
	w, p := newSAMLWorld(t)
	// forged returns a copy of the assertion that says root, without its signature.
	forged := func(response *etree.Element, id string) *etree.Element {
		f := response.FindElement("./Assertion").Copy()
		f.FindElement(nameID).SetText("root")
		if s := f.FindElement("./Signature"); s != nil {
			f.RemoveChild(s)
		}
		f.CreateAttr("ID", id)
		return f
	}
	for name, wrap := range map[string]func(response, signed *etree.Element){
		"good": func(_, _ *etree.Element) {},
		"forged one before": func(r, s *etree.Element) {
			r.InsertChildAt(s.Index(), forged(r, "_forged"))
		},
		"forged one behind": func(r, _ *etree.Element) { r.AddChild(forged(r, "_forged")) },
		"forged one with the same ID": func(r, s *etree.Element) {
			r.InsertChildAt(s.Index(), forged(r, s.SelectAttrValue("ID", "")))
		},
		"signed one inside the forged": func(r, s *etree.Element) {
			f := forged(r, "_forged")
			r.RemoveChild(s)
			f.AddChild(s)
			r.AddChild(f)
		},
		"signed one in the signature of the forged": func(r, s *etree.Element) {
			f := forged(r, "_forged")
			signature := s.FindElement("./Signature").Copy()
			r.RemoveChild(s)
			object := signature.CreateElement("ds:Object")
			object.AddChild(s)
			f.InsertChildAt(1, signature)
			r.AddChild(f)
		},
		"signature moved to the forged": func(r, s *etree.Element) {
			f := forged(r, "_forged")
			signature := s.FindElement("./Signature")
			s.RemoveChild(signature)
			f.InsertChildAt(1, signature)
			r.AddChild(f)
		},
		"signed one in extensions": func(r, s *etree.Element) {
			f := forged(r, "_forged")
			r.RemoveChild(s)
			r.CreateElement("samlp:Extensions").AddChild(s)
			r.AddChild(f)
		},
		"response around a response": func(r, _ *etree.Element) {
			inner := r.Copy()
			inner.CreateAttr("ID", "_inner")
			r.CreateElement("samlp:Extensions").AddChild(inner)
		},
		"advice": func(r, s *etree.Element) {
			f := forged(r, "_forged")
			r.RemoveChild(s)
			f.CreateElement("saml:Advice").AddChild(s)
			r.AddChild(f)
		},
		"forged one of another namespace": func(r, _ *etree.Element) {
			f := forged(r, "_forged")
			f.Space = "x"
			f.CreateAttr("xmlns:x", "urn:x")
			r.AddChild(f)
		},
		"namespace taken over": func(r, s *etree.Element) { s.CreateAttr("xmlns:saml", "urn:x") },
		"ID of another namespace": func(_, s *etree.Element) {
			s.CreateAttr("xmlns:x", "urn:x")
			s.CreateAttr("x:ID", "_other")
		},
	} {
		for _, signed := range []bool{false, true} {
			got, err := w.answered(p, brokertest.Answer{Response: func(r *etree.Element) { wrap(r, r.FindElement("./Assertion")) }, SignResponse: signed})
			if name == "good" {
				check(t, err, problem.OK)
				continue
			}
			if problem.ReasonOf(err) != problem.ProviderInvalid || got != (Claims{}) {
				t.Errorf("%s, response signed %t: got %+v, %v", name, signed, got, err)
			}
		}
	}
}

// TestDocument: a document that could be read in two ways is not read.
func TestDocument(t *testing.T) {
	w, p := newSAMLWorld(t)
	bomb := `<!DOCTYPE r [<!ENTITY a "` + strings.Repeat("a", 1000) + `">` +
		`<!ENTITY b "` + strings.Repeat("&a;", 100) + `"><!ENTITY c "` + strings.Repeat("&b;", 100) + `">]>`
	deep := strings.Repeat("<a>", 100) + strings.Repeat("</a>", 100)
	for _, k := range []struct {
		name   string
		answer brokertest.Answer
		want   problem.Reason
	}{
		{"good", brokertest.Answer{}, problem.OK},
		{"with a declaration", brokertest.Answer{Document: func(s string) string { return `<?xml version="1.0" encoding="UTF-8"?>` + s }}, problem.OK},
		{"name of another", brokertest.Answer{Assertion: text(nameID, "jane-1.evil")}, problem.OK},
		{"made ours by a comment", brokertest.Answer{Assertion: text(nameID, "jane-1.evil"), Document: func(s string) string {
			return strings.Replace(s, ">jane-1.evil<", ">jane-1<!-- -->.evil<", 1)
		}}, problem.ProviderInvalid},
		{"comment in the name, added", brokertest.Answer{Document: func(s string) string { return strings.Replace(s, ">jane-1<", ">jane<!-- x -->-1<", 1) }}, problem.ProviderInvalid},
		{"document type", brokertest.Answer{Document: func(s string) string { return "<!DOCTYPE r>" + s }}, problem.ProviderInvalid},
		{"entities", brokertest.Answer{Document: func(s string) string { return bomb + strings.Replace(s, ">jane-1<", ">&c;<", 1) }}, problem.ProviderInvalid},
		{"external entity", brokertest.Answer{Document: func(s string) string {
			return `<!DOCTYPE r [<!ENTITY x SYSTEM "file:///etc/passwd">]>` + strings.Replace(s, ">jane-1<", ">&x;<", 1)
		}}, problem.ProviderInvalid},
		{"unknown entity", brokertest.Answer{Document: func(s string) string { return strings.Replace(s, ">jane-1<", ">&x;<", 1) }}, problem.ProviderInvalid},
		{"processing instruction", brokertest.Answer{Document: func(s string) string { return strings.Replace(s, ">jane-1<", ">jane<?x y?>-1<", 1) }}, problem.ProviderInvalid},
		{"another encoding", brokertest.Answer{Document: func(s string) string { return `<?xml version="1.0" encoding="UTF-7"?>` + s }}, problem.ProviderInvalid},
		{"no UTF-8", brokertest.Answer{Document: func(s string) string { return strings.Replace(s, ">jane-1<", ">jane\xff<", 1) }}, problem.ProviderInvalid},
		{"two roots", brokertest.Answer{Document: func(s string) string { return s + "<x/>" }}, problem.ProviderInvalid},
		{"text behind", brokertest.Answer{Document: func(s string) string { return s + "x" }}, problem.ProviderInvalid},
		{"cut off", brokertest.Answer{Document: func(s string) string { return s[:len(s)-20] }}, problem.ProviderInvalid},
		{"empty", brokertest.Answer{Document: func(string) string { return "" }}, problem.ProviderInvalid},
		{"another element", brokertest.Answer{Document: func(string) string { return "<Response/>" }}, problem.ProviderInvalid},
		{"deep", brokertest.Answer{Document: func(s string) string { return strings.Replace(s, "</saml:Assertion>", "</saml:Assertion>"+deep, 1) }}, problem.ProviderInvalid},
		{"attribute twice", brokertest.Answer{Document: func(s string) string { return strings.Replace(s, `Version="2.0"`, `Version="2.0" Version="2.0"`, 1) }}, problem.ProviderInvalid},
		{"long", brokertest.Answer{Document: func(s string) string { return s + strings.Repeat(" ", maxResponse) }}, problem.ProviderInvalid},
		{"too long", brokertest.Answer{Document: func(s string) string { return s + strings.Repeat(" ", MaxAnswer) }}, problem.ProviderInvalid},
	} {
		t.Run(k.name, func(t *testing.T) {
			_, err := w.answered(p, k.answer)
			check(t, err, k.want)
		})
	}
}
