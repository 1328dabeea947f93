package broker

import (
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/beevik/etree"
	dsig "github.com/russellhaering/goxmldsig"
	"github.com/russellhaering/goxmldsig/etreeutils"

	"sallyport.dev/internal/outward"
)

// arranged makes sure that a response has its parts where they belong and nowhere
// else: one response, one assertion below it, signatures of these two only, and
// no id twice. Wrapping attacks need a second of one of them.
func arranged(root *etree.Element) (assertion *etree.Element, err error) {
	if root.Tag != "Response" || root.NamespaceURI() != protocolNamespace {
		return nil, fmt.Errorf("it is %q, no Response", outward.Clip(root.Tag))
	}
	ids, counts := map[string]bool{}, map[string]int{}
	refuse := func(text string, args ...any) {
		if err == nil { // one reason is enough, and there may be thousands
			err = fmt.Errorf(text, args...)
		}
	}
	each(root, func(el *etree.Element) {
		counts[el.Tag]++ // of any namespace
		for _, a := range el.Attr {
			if a.Space == "" && a.Key == "ID" {
				if ids[a.Value] || !isID(a.Value) {
					refuse("the ID %q is there twice, or is none", outward.Clip(a.Value))
				}
				ids[a.Value] = true
			}
		}
		if parent := el.Parent(); el.Tag == "Signature" && parent != root && (parent == nil || parent.Tag != "Assertion" || parent.Parent() != root) {
			refuse("a Signature is where none belongs")
		}
	})
	if err != nil {
		return nil, err
	}
	for _, tag := range []string{"EncryptedAssertion", "EncryptedID", "EncryptedData", "EncryptedKey"} {
		if counts[tag] > 0 {
			return nil, errors.New("it is encrypted, which is not taken: have the provider send assertions that are signed only")
		}
	}
	if counts["Response"] != 1 || counts["Assertion"] != 1 {
		return nil, fmt.Errorf("there are %d responses and %d assertions, want one of each", counts["Response"], counts["Assertion"])
	}
	return only(root, assertionNamespace, "Assertion")
}

// isID is an NCName of ASCII.
func isID(s string) bool {
	if s == "" || len(s) > 256 {
		return false
	}
	for n, c := range []byte(s) {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_'
		if !letter && (n == 0 || (c < '0' || c > '9') && c != '-' && c != '.') {
			return false
		}
	}
	return true
}

const (
	enveloped        = "http://www.w3.org/2000/09/xmldsig#enveloped-signature"
	exclusive        = "http://www.w3.org/2001/10/xml-exc-c14n#"
	exclusiveComment = "http://www.w3.org/2001/10/xml-exc-c14n#WithComments" // there are none
)

func signatureMethods() []string {
	return []string{
		dsig.RSASHA256SignatureMethod, dsig.RSASHA384SignatureMethod, dsig.RSASHA512SignatureMethod,
		dsig.ECDSASHA256SignatureMethod, dsig.ECDSASHA384SignatureMethod, dsig.ECDSASHA512SignatureMethod,
	}
}

func digestMethods() []string {
	return []string{
		"http://www.w3.org/2001/04/xmlenc#sha256", "http://www.w3.org/2001/04/xmldsig-more#sha384", "http://www.w3.org/2001/04/xmlenc#sha512",
	}
}

// signedBy returns what a signature directly below el signs: el itself, without
// the signature, read anew from the bytes that were verified. Nothing else may be
// read.
func signedBy(el *etree.Element, certificates []*x509.Certificate, now time.Time) (*etree.Element, error) {
	if err := profile(el); err != nil {
		return nil, err
	}
	space, err := etreeutils.NSBuildParentContext(el)
	if err != nil {
		return nil, err
	}
	if space, err = space.SubContext(el); err != nil {
		return nil, err
	}
	alone, err := etreeutils.NSDetatch(space, el)
	if err != nil {
		return nil, err
	}
	// What the signature says of its key is not signed. Each certificate that the
	// metadata have is tried instead.
	for _, signature := range children(alone, signatureNamespace, "Signature") {
		for _, info := range children(signature, signatureNamespace, "KeyInfo") {
			signature.RemoveChild(info)
		}
	}
	var failed error
	for _, certificate := range certificates {
		validator := dsig.NewDefaultValidationContext(&dsig.MemoryX509CertificateStore{Roots: []*x509.Certificate{certificate}})
		validator.IdAttribute = "ID"
		validator.Clock = dsig.NewFakeClockAt(now) // one moment for the whole answer
		signed, err := validator.Validate(alone)
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("by %q: %w", outward.Clip(certificate.Subject.String()), err))
			continue
		}
		if signed == nil || signed.Tag != el.Tag || signed.NamespaceURI() != el.NamespaceURI() || attribute(signed, "ID") != attribute(el, "ID") ||
			len(children(signed, signatureNamespace, "Signature")) > 0 {
			return nil, errors.New("the signature is of something else")
		}
		return signed, nil
	}
	return nil, fmt.Errorf("the signature of %s does not hold: %w", el.Tag, failed)
}

// profile is SAML 2.0 core section 5.4, narrower: one reference, to the element
// that the signature is in, with the two transforms that are needed and strong
// algorithms.
func profile(el *etree.Element) error {
	signature, err := only(el, signatureNamespace, "Signature")
	if err != nil {
		return err
	}
	info, err := only(signature, signatureNamespace, "SignedInfo")
	if err != nil {
		return err
	}
	if len(children(signature, signatureNamespace, "Object")) > 0 {
		return errors.New("the signature has an Object")
	}
	for _, method := range []struct {
		tag     string
		allowed []string
	}{{"CanonicalizationMethod", []string{exclusive, exclusiveComment}}, {"SignatureMethod", signatureMethods()}} {
		if err := uses(info, method.tag, method.allowed); err != nil {
			return err
		}
	}
	reference, err := only(info, signatureNamespace, "Reference")
	if err != nil {
		return err
	}
	if id := attribute(el, "ID"); !isID(id) || attribute(reference, "URI") != "#"+id {
		return fmt.Errorf("the signature is of %q, not of the %s that it is in", outward.Clip(attribute(reference, "URI")), el.Tag)
	}
	if err := uses(reference, "DigestMethod", digestMethods()); err != nil {
		return err
	}
	transforms, err := only(reference, signatureNamespace, "Transforms")
	if err != nil {
		return err
	}
	var used []string
	for _, t := range transforms.ChildElements() {
		used = append(used, attribute(t, "Algorithm"))
	}
	if len(used) != 2 || used[0] != enveloped || used[1] != exclusive && used[1] != exclusiveComment {
		return errors.New("the signature has other transforms than enveloped signature and exclusive canonicalization")
	}
	return nil
}

func uses(el *etree.Element, tag string, allowed []string) error {
	method, err := only(el, signatureNamespace, tag)
	if err != nil {
		return err
	}
	if algorithm := attribute(method, "Algorithm"); !slices.Contains(allowed, algorithm) {
		return fmt.Errorf("%s is %q, which is not taken", tag, outward.Clip(algorithm))
	}
	return nil
}
