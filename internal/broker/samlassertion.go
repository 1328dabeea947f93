package broker

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/beevik/etree"
	"github.com/crewjam/saml"

	"sallyport.dev/internal/outward"
)

// expected is what an answer must be for.
type expected struct {
	entity, acs, request string
	now                  time.Time
}

// assertion is what a provider says of a user, verified.
type assertion struct {
	id      string
	expires time.Time // from then on it is refused by its own times
	subject string
	format  string
	email   string
	name    string
	at      time.Time
	context string
}

// maxLife is how long an assertion may hold: until then its id is kept.
const maxLife = 24 * time.Hour

// read verifies a response (SAML 2.0 profiles section 4.1.4.3). What is not signed
// of it is only used to refuse.
func (p *peer) read(data []byte, want expected) (*assertion, error) {
	root, err := parseXML(data, maxResponse, false)
	if err != nil {
		return nil, invalid("%w", err)
	}
	if root.Tag != "Response" || root.NamespaceURI() != protocolNamespace {
		return nil, invalid("it is %q, no Response", outward.Clip(root.Tag))
	}
	if len(children(root, signatureNamespace, "Signature")) > 0 {
		if _, err := arranged(root); err != nil && len(children(root, assertionNamespace, "Assertion")) > 0 {
			return nil, invalid("response: %w", err)
		}
		if root, err = signedBy(root, p.certificates, want.now); err != nil {
			return nil, invalid("response: %w", err)
		}
	}
	if err := p.answers(root, want); err != nil {
		return nil, err
	}
	found, err := arranged(root)
	if err != nil {
		return nil, invalid("response: %w", err)
	}
	// Of itself, whether the response is signed or not: what is signed is what is
	// said of the user, and nothing depends on how it is wrapped.
	signed, err := signedBy(found, p.certificates, want.now)
	if err != nil {
		return nil, invalid("assertion: %w", err)
	}
	a, err := p.assertion(signed, want)
	if err != nil {
		return nil, invalid("assertion: %w", err)
	}
	return a, nil
}

// answers compares the outside of a response (SAML 2.0 core section 3.2.2).
func (p *peer) answers(el *etree.Element, want expected) error {
	if v := attribute(el, "Version"); v != "2.0" {
		return invalid("response of the version %q", outward.Clip(v))
	}
	if of := attribute(el, "InResponseTo"); want.request == "" || of != want.request {
		return invalid("response in answer to %q, another flow", outward.Clip(of))
	}
	if to := attribute(el, "Destination"); to != "" && to != want.acs {
		return invalid("response for %q, want %q", outward.Clip(to), want.acs)
	}
	issued, err := momentOf(el, "IssueInstant")
	if err != nil || issued.After(want.now.Add(leeway)) {
		return invalid("response is of no time, or of the future")
	}
	if len(children(el, assertionNamespace, "Issuer")) > 0 {
		if err := p.issued(el); err != nil {
			return invalid("response: %w", err)
		}
	}
	status, err := only(el, protocolNamespace, "Status")
	if err != nil {
		return invalid("response: %w", err)
	}
	code, err := only(status, protocolNamespace, "StatusCode")
	if err != nil {
		return invalid("response: %w", err)
	}
	value, second := attribute(code, "Value"), ""
	for _, c := range children(code, protocolNamespace, "StatusCode") {
		second = attribute(c, "Value")
	}
	switch {
	case value == saml.StatusSuccess:
		return nil
	case slices.Contains([]string{saml.StatusAuthnFailed, saml.StatusRequestDenied, saml.StatusNoPassive, saml.StatusNoAuthnContext, saml.StatusUnknownPrincipal}, second):
		return denied("the provider answers %q", outward.Clip(second))
	default:
		return unavailableAnswer(value, second)
	}
}

// issued compares who says it.
func (p *peer) issued(el *etree.Element) error {
	issuer, err := only(el, assertionNamespace, "Issuer")
	if err != nil {
		return err
	}
	text, err := textOf(issuer)
	if err != nil {
		return err
	}
	if format := attribute(issuer, "Format"); format != "" && format != "urn:oasis:names:tc:SAML:2.0:nameid-format:entity" {
		return fmt.Errorf("its issuer is of the format %q", outward.Clip(format))
	}
	if text != p.entity {
		return fmt.Errorf("its issuer is %q, want %q", outward.Clip(text), p.entity)
	}
	return nil
}

// assertion reads an assertion that was verified.
func (p *peer) assertion(el *etree.Element, want expected) (*assertion, error) {
	if v := attribute(el, "Version"); v != "2.0" {
		return nil, fmt.Errorf("it is of the version %q", outward.Clip(v))
	}
	if err := p.issued(el); err != nil {
		return nil, err
	}
	issued, err := momentOf(el, "IssueInstant")
	if err != nil {
		return nil, err
	}
	if issued.After(want.now.Add(leeway)) {
		return nil, fmt.Errorf("it is of the future, %s", issued)
	}
	a := &assertion{id: attribute(el, "ID")}
	subject, err := only(el, assertionNamespace, "Subject")
	if err != nil {
		return nil, err
	}
	if err := a.confirmed(subject, want); err != nil {
		return nil, err
	}
	if err := a.conditions(el, want); err != nil {
		return nil, err
	}
	if a.expires.Sub(want.now) > maxLife {
		return nil, fmt.Errorf("it holds until %s, longer than %s", a.expires, maxLife)
	}
	a.expires = a.expires.Add(leeway)
	if err := a.statement(el, want.now); err != nil {
		return nil, err
	}
	if err := a.attributes(el); err != nil {
		return nil, err
	}
	return a, a.nameID(subject, p.entity, want.entity)
}

// confirmed looks for a confirmation that whoever brings the assertion may do so,
// here, now, in this flow (SAML 2.0 profiles section 4.1.4.2).
func (a *assertion) confirmed(subject *etree.Element, want expected) error {
	failed := errors.New("there is no bearer confirmation")
	for _, c := range children(subject, assertionNamespace, "SubjectConfirmation") {
		if attribute(c, "Method") != "urn:oasis:names:tc:SAML:2.0:cm:bearer" {
			continue
		}
		until, err := confirmation(c, want)
		if err == nil {
			a.expires = until
			return nil
		}
		failed = err
	}
	return fmt.Errorf("no bearer may show it here and now: %w", failed)
}

func confirmation(el *etree.Element, want expected) (until time.Time, err error) {
	data, err := only(el, assertionNamespace, "SubjectConfirmationData")
	if err != nil {
		return until, err
	}
	if of := attribute(data, "InResponseTo"); want.request == "" || of != want.request {
		return until, fmt.Errorf("it is in answer to %q, another flow", outward.Clip(of))
	}
	if to := attribute(data, "Recipient"); to != want.acs {
		return until, fmt.Errorf("its recipient is %q, want %q", outward.Clip(to), want.acs)
	}
	if until, err = momentOf(data, "NotOnOrAfter"); err != nil {
		return until, err
	}
	return until, within(data, want.now)
}

// conditions must hold, all of them; an unknown one cannot be judged (SAML 2.0
// core section 2.5.1).
func (a *assertion) conditions(el *etree.Element, want expected) error {
	conditions, err := only(el, assertionNamespace, "Conditions")
	if err != nil {
		return err
	}
	if err := within(conditions, want.now); err != nil {
		return err
	}
	if attribute(conditions, "NotOnOrAfter") != "" {
		until, err := momentOf(conditions, "NotOnOrAfter")
		if err != nil {
			return err
		}
		if until.Before(a.expires) {
			a.expires = until
		}
	}
	restrictions := 0
	for _, c := range conditions.ChildElements() {
		switch {
		case c.NamespaceURI() != assertionNamespace:
			return fmt.Errorf("it has the unknown condition %q", outward.Clip(c.Tag))
		case c.Tag == "OneTimeUse", c.Tag == "ProxyRestriction": // it is used once and not passed on
		case c.Tag == "AudienceRestriction":
			restrictions++
			if err := audience(c, want.entity); err != nil {
				return err
			}
		default:
			return fmt.Errorf("it has the unknown condition %q", outward.Clip(c.Tag))
		}
	}
	if restrictions == 0 {
		return errors.New("it is for any audience")
	}
	return nil
}

func audience(restriction *etree.Element, entity string) error {
	for _, one := range children(restriction, assertionNamespace, "Audience") {
		text, err := textOf(one)
		if err != nil {
			return err
		}
		if text == entity {
			return nil
		}
	}
	return fmt.Errorf("its audience is not %q", entity)
}

// statement is when and how the user logged in.
func (a *assertion) statement(el *etree.Element, now time.Time) error {
	all := children(el, assertionNamespace, "AuthnStatement")
	if len(all) == 0 {
		return errors.New("it does not say that anybody logged in")
	}
	statement := all[0]
	var err error
	if a.at, err = momentOf(statement, "AuthnInstant"); err != nil {
		return err
	}
	if attribute(statement, "SessionNotOnOrAfter") != "" {
		end, err := momentOf(statement, "SessionNotOnOrAfter")
		if err != nil {
			return err
		}
		if !now.Before(end.Add(leeway)) {
			return fmt.Errorf("the session at the provider ended at %s", end)
		}
	}
	for _, context := range children(statement, assertionNamespace, "AuthnContext") {
		for _, class := range children(context, assertionNamespace, "AuthnContextClassRef") {
			if a.context, err = textOf(class); err != nil {
				return err
			}
		}
	}
	return nil
}

// nameID is who it is. A transient one is another each time; one that others chose
// for themselves is not of this provider (SAML 2.0 core section 8.3.7).
func (a *assertion) nameID(subject *etree.Element, provider, own string) error {
	el, err := only(subject, assertionNamespace, "NameID")
	if err != nil {
		return err
	}
	if a.subject, err = textOf(el); err != nil {
		return err
	}
	a.format = attribute(el, "Format")
	switch saml.NameIDFormat(a.format) {
	case saml.PersistentNameIDFormat, saml.EmailAddressNameIDFormat, saml.UnspecifiedNameIDFormat, "":
	default:
		return fmt.Errorf("its NameID is of the format %q, by which nobody is known again: have the provider send a persistent one", outward.Clip(a.format))
	}
	if q := attribute(el, "NameQualifier"); q != "" && q != provider {
		return fmt.Errorf("its NameID is qualified by %q", outward.Clip(q))
	}
	if q := attribute(el, "SPNameQualifier"); q != "" && q != own {
		return fmt.Errorf("its NameID is for %q", outward.Clip(q))
	}
	if !isSubject(a.subject) {
		return errors.New("its NameID is empty, too long or no line of text")
	}
	return nil
}

func addressNames() []string {
	return []string{
		"email", "mail", "emailaddress", "emailAddress", "urn:oid:0.9.2342.19200300.100.1.3", "urn:mace:dir:attribute-def:mail",
		"http://schemas.xmlsoap.org/ws/2005/05/identity/claims/emailaddress",
	}
}

func personNames() []string {
	return []string{
		"displayName", "displayname", "name", "urn:oid:2.16.840.1.113730.3.1.241", "http://schemas.microsoft.com/identity/claims/displayname",
		"http://schemas.xmlsoap.org/ws/2005/05/identity/claims/name", "cn", "urn:oid:2.5.4.3",
	}
}

// attributes takes address and name, by the names that providers give them.
func (a *assertion) attributes(el *etree.Element) error {
	values := map[string]string{} // the first of each
	for _, statement := range children(el, assertionNamespace, "AttributeStatement") {
		for _, one := range children(statement, assertionNamespace, "Attribute") {
			for _, v := range children(one, assertionNamespace, "AttributeValue") {
				text, err := textOf(v)
				if err != nil {
					continue // of a form that is of no use here
				}
				for _, name := range []string{attribute(one, "Name"), attribute(one, "FriendlyName")} {
					if _, there := values[name]; !there {
						values[name] = text
					}
				}
			}
		}
	}
	first := func(names []string) string {
		for _, name := range names {
			if values[name] != "" {
				return values[name]
			}
		}
		return ""
	}
	a.email, a.name = first(addressNames()), first(personNames())
	return nil
}

// claims never says that an address is verified: SAML has no word for it, and
// whether the provider's users choose their address is not known here.
func (a *assertion) claims() Claims {
	c := Claims{Subject: a.subject, AuthTime: a.at, ACR: a.context}
	if len(c.ACR) > maxParameter || !isLine(c.ACR) {
		c.ACR = ""
	}
	c.setEmail(a.email, false)
	if c.Email == "" && saml.NameIDFormat(a.format) == saml.EmailAddressNameIDFormat {
		c.setEmail(a.subject, false)
	}
	c.setName(a.name)
	return c
}

// within compares NotBefore and NotOnOrAfter with the clock.
func within(el *etree.Element, now time.Time) error {
	if attribute(el, "NotBefore") != "" {
		from, err := momentOf(el, "NotBefore")
		if err != nil {
			return err
		}
		if from.After(now.Add(leeway)) {
			return fmt.Errorf("%s begins at %s", el.Tag, from)
		}
	}
	if attribute(el, "NotOnOrAfter") != "" {
		until, err := momentOf(el, "NotOnOrAfter")
		if err != nil {
			return err
		}
		if !now.Before(until.Add(leeway)) {
			return fmt.Errorf("%s ended at %s", el.Tag, until)
		}
	}
	return nil
}

// momentOf returns an attribute that is an xs:dateTime, which SAML has in UTC.
func momentOf(el *etree.Element, name string) (time.Time, error) {
	at, err := time.Parse(time.RFC3339Nano, attribute(el, name))
	if err != nil {
		return time.Time{}, fmt.Errorf("%s of %s is missing or no time", name, el.Tag)
	}
	return at.UTC(), nil
}
