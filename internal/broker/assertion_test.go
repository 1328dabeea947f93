package broker

import (
	"testing"
	"time"

	"github.com/beevik/etree"

	"sallyport.dev/internal/broker/brokertest"
	"sallyport.dev/internal/problem"
)

// attr changes an attribute of the element at a path below the one it is given.
func attr(path, name, value string) func(*etree.Element) {
	return func(el *etree.Element) {
		if path != "" {
			if el = el.FindElement(path); el == nil {
				panic("no " + path)
			}
		}
		el.RemoveAttr(name)
		if value != "" {
			el.CreateAttr(name, value)
		}
	}
}

func text(path, value string) func(*etree.Element) {
	return func(el *etree.Element) { el.FindElement(path).SetText(value) }
}

func drop(path string) func(*etree.Element) {
	return func(el *etree.Element) {
		found := el.FindElement(path)
		found.Parent().RemoveChild(found)
	}
}

func add(path, fragment string) func(*etree.Element) {
	return func(el *etree.Element) {
		d := etree.NewDocument()
		if err := d.ReadFromString(fragment); err != nil {
			panic(err)
		}
		el.FindElement(path).AddChild(d.Root())
	}
}

func after(d time.Duration) string { return start.Add(d).Format(time.RFC3339) }

// TestAssertion: each assertion of the provider itself that is not for here, now and
// this flow is refused, and each that is near to it is taken.
func TestAssertion(t *testing.T) {
	w, p := newSAMLWorld(t)
	as := func(f func(*etree.Element)) brokertest.Answer { return brokertest.Answer{Assertion: f} }
	re := func(f func(*etree.Element)) brokertest.Answer { return brokertest.Answer{Response: f} }
	for _, k := range []struct {
		name   string
		answer brokertest.Answer
		want   problem.Reason
	}{
		{"good", brokertest.Answer{}, problem.OK},
		{"another issuer", as(text("./Issuer", "https://evil.example")), problem.ProviderInvalid},
		{"no issuer", as(drop("./Issuer")), problem.ProviderInvalid},
		{"another recipient", as(attr(data, "Recipient", "https://evil.example/acs")), problem.ProviderInvalid},
		{"recipient of another provider", as(attr(data, "Recipient", base+"/auth/providers/other/acs")), problem.ProviderInvalid},
		{"no recipient", as(attr(data, "Recipient", "")), problem.ProviderInvalid},
		{"another flow", as(attr(data, "InResponseTo", "_another")), problem.ProviderInvalid},
		{"no flow", as(attr(data, "InResponseTo", "")), problem.ProviderInvalid},
		{"expired", as(attr(data, "NotOnOrAfter", after(-time.Minute))), problem.ProviderInvalid},
		{"expired within the skew", as(attr(data, "NotOnOrAfter", after(-59*time.Second))), problem.OK},
		{"no end", as(attr(data, "NotOnOrAfter", "")), problem.ProviderInvalid},
		{"end is no time", as(attr(data, "NotOnOrAfter", "never")), problem.ProviderInvalid},
		{"end is far", as(func(el *etree.Element) {
			attr(data, "NotOnOrAfter", after(25*time.Hour))(el)
			attr(conditions, "NotOnOrAfter", "")(el)
		}), problem.ProviderInvalid},
		{"not yet, confirmation", as(attr(data, "NotBefore", after(61*time.Second))), problem.ProviderInvalid},
		{"another method", as(attr("./Subject/SubjectConfirmation", "Method", "urn:oasis:names:tc:SAML:2.0:cm:holder-of-key")), problem.ProviderInvalid},
		{"no confirmation", as(drop("./Subject/SubjectConfirmation")), problem.ProviderInvalid},
		{"two confirmations", as(add("./Subject", `<saml:SubjectConfirmation xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion" Method="urn:oasis:names:tc:SAML:2.0:cm:sender-vouches"/>`)), problem.OK},
		{"no subject", as(drop("./Subject")), problem.ProviderInvalid},
		{"no conditions", as(drop(conditions)), problem.ProviderInvalid},
		{"conditions ended", as(attr(conditions, "NotOnOrAfter", after(-time.Minute))), problem.ProviderInvalid},
		{"conditions ended within the skew", as(attr(conditions, "NotOnOrAfter", after(-59*time.Second))), problem.OK},
		{"conditions without an end", as(attr(conditions, "NotOnOrAfter", "")), problem.OK},
		{"conditions not yet", as(attr(conditions, "NotBefore", after(61*time.Second))), problem.ProviderInvalid},
		{"conditions not yet within the skew", as(attr(conditions, "NotBefore", after(60*time.Second))), problem.OK},
		{"another audience", as(text("./Conditions/AudienceRestriction/Audience", "https://evil.example")), problem.ProviderInvalid},
		{"any audience", as(drop("./Conditions/AudienceRestriction")), problem.ProviderInvalid},
		{"one of two audiences", as(add("./Conditions/AudienceRestriction", `<saml:Audience xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion">urn:another</saml:Audience>`)), problem.OK},
		{"two restrictions", as(add(conditions, `<saml:AudienceRestriction xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion"><saml:Audience>urn:another</saml:Audience></saml:AudienceRestriction>`)), problem.ProviderInvalid},
		{"one time use", as(add(conditions, `<saml:OneTimeUse xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion"/>`)), problem.OK},
		{"unknown condition", as(add(conditions, `<saml:Condition xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion"/>`)), problem.ProviderInvalid},
		{"strange condition", as(add(conditions, `<x:OneTimeUse xmlns:x="urn:x"/>`)), problem.ProviderInvalid},
		{"of the future", as(attr("", "IssueInstant", after(61*time.Second))), problem.ProviderInvalid},
		{"SAML 1.1", as(attr("", "Version", "1.1")), problem.ProviderInvalid},
		{"no login", as(drop("./AuthnStatement")), problem.ProviderInvalid},
		{"session ended", as(attr("./AuthnStatement", "SessionNotOnOrAfter", after(-time.Minute))), problem.ProviderInvalid},
		{"session goes on", as(attr("./AuthnStatement", "SessionNotOnOrAfter", after(time.Minute))), problem.OK},
		{"login in the future", as(attr("./AuthnStatement", "AuthnInstant", after(2*time.Minute))), problem.ProviderInvalid},
		{"transient", as(attr(nameID, "Format", "urn:oasis:names:tc:SAML:2.0:nameid-format:transient")), problem.ProviderInvalid},
		{"by address", as(attr(nameID, "Format", "urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress")), problem.OK},
		{"qualified by another", as(attr(nameID, "NameQualifier", "https://evil.example")), problem.ProviderInvalid},
		{"for another", as(attr(nameID, "SPNameQualifier", "https://evil.example")), problem.ProviderInvalid},
		{"empty name", as(text(nameID, " ")), problem.ProviderInvalid},
		{"no name", as(drop(nameID)), problem.ProviderInvalid},
		{"two names", as(add("./Subject", `<saml:NameID xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion">root</saml:NameID>`)), problem.ProviderInvalid},
		{"name with parts", as(add(nameID, `<x:x xmlns:x="urn:x">root</x:x>`)), problem.ProviderInvalid},
		{"no ID", as(attr("", "ID", "")), problem.ProviderInvalid},
		{"ID of another namespace beside its own", as(func(el *etree.Element) {
			el.CreateAttr("xmlns:x", "urn:x")
			el.CreateAttr("x:ID", "_other")
		}), problem.ProviderInvalid},

		{"another destination", re(attr("", "Destination", "https://evil.example/acs")), problem.ProviderInvalid},
		{"no destination", re(attr("", "Destination", "")), problem.OK},
		{"response to another flow", re(attr("", "InResponseTo", "_another")), problem.ProviderInvalid},
		{"response to no flow", re(attr("", "InResponseTo", "")), problem.ProviderInvalid},
		{"response of another", re(text("./Issuer", "https://evil.example")), problem.ProviderInvalid},
		{"response of nobody", re(drop("./Issuer")), problem.OK},
		{"response of the future", re(attr("", "IssueInstant", after(61*time.Second))), problem.ProviderInvalid},
		{"response of SAML 1.1", re(attr("", "Version", "1.1")), problem.ProviderInvalid},
		{"no status", re(drop("./Status")), problem.ProviderInvalid},
		{"failed", re(attr("./Status/StatusCode", "Value", "urn:oasis:names:tc:SAML:2.0:status:Responder")), problem.ProviderUnavailable},
		{"cancelled", re(func(el *etree.Element) {
			attr("./Status/StatusCode", "Value", "urn:oasis:names:tc:SAML:2.0:status:Responder")(el)
			add("./Status/StatusCode", `<samlp:StatusCode xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol" Value="urn:oasis:names:tc:SAML:2.0:status:AuthnFailed"/>`)(el)
			drop("./Assertion")(el)
		}), problem.ProviderDenied},
		{"cancelled, another flow", re(func(el *etree.Element) {
			attr("./Status/StatusCode", "Value", "urn:oasis:names:tc:SAML:2.0:status:Responder")(el)
			attr("", "InResponseTo", "_another")(el)
		}), problem.ProviderInvalid},
		{"no assertion", re(drop("./Assertion")), problem.ProviderInvalid},
	} {
		t.Run(k.name, func(t *testing.T) {
			got, err := w.answered(p, k.answer)
			check(t, err, k.want)
			if err != nil && got != (Claims{}) || err == nil && got.Subject != "jane-1" {
				t.Errorf("got %+v", got)
			}
			k.answer.SignResponse = true
			_, err = w.answered(p, k.answer)
			check(t, err, k.want)
		})
	}
}

func TestSAMLFresh(t *testing.T) {
	w, p := newSAMLWorld(t)
	for at, want := range map[string]problem.Reason{after(0): problem.OK, after(-time.Minute): problem.OK, after(-61 * time.Second): problem.ProviderInvalid} {
		redirect, s := w.begin("saml", Ask{Fresh: true})
		_, err := w.Finish(t.Context(), "saml", s, p.Answer(t, redirect, brokertest.Answer{Assertion: attr("./AuthnStatement", "AuthnInstant", at)}))
		check(t, err, want)
	}
}

func TestSAMLAddresses(t *testing.T) {
	w, p := newSAMLWorld(t)
	for _, k := range []struct {
		name   string
		change func(*etree.Element)
		email  string
	}{
		{"as it is", func(*etree.Element) {}, "jane@shop.example"},
		{"by its short name", func(el *etree.Element) { attr("./AttributeStatement/Attribute", "Name", "7")(el) }, "jane@shop.example"},
		{"none", drop("./AttributeStatement"), ""},
		{"none, the name is one", func(el *etree.Element) {
			drop("./AttributeStatement")(el)
			attr(nameID, "Format", "urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress")(el)
			text(nameID, "joan@shop.example")(el)
		}, "joan@shop.example"},
		{"no address", text("./AttributeStatement/Attribute/AttributeValue", "jane"), ""},
		{"with parts", add("./AttributeStatement/Attribute/AttributeValue", `<x:x xmlns:x="urn:x"/>`), ""},
	} {
		got, err := w.answered(p, brokertest.Answer{Assertion: k.change})
		if err != nil || got.Email != k.email || got.EmailVerified {
			t.Errorf("%s: got %+v, %v, want %q", k.name, got, err, k.email)
		}
	}
}
