package httpsig

import (
	"fmt"
	"net/http"
	"strings"

	"sallyport.dev/internal/problem"
)

// Proof is what a request carries to prove itself, as received and not yet
// believed.
type Proof struct {
	Input       string // Signature-Input
	Signature   string // Signature
	Certificate string // Sallyport-Certificate; signature only
}

// ProofFrom reads the proof of a request. A request without any has the zero
// Proof and no error: whether that suffices is for Profile.Accepts. A field that
// comes twice, or one of the pair without the other, is problem.ProofInvalid.
func ProofFrom(h http.Header) (Proof, error) {
	var p Proof
	for _, f := range []struct {
		name string
		to   *string
	}{{InputHeader, &p.Input}, {SignatureHeader, &p.Signature}, {CertificateHeader, &p.Certificate}} {
		v, err := one(h, f.name)
		if err != nil {
			return Proof{}, invalid(err)
		}
		*f.to = v
	}
	if (p.Input == "") != (p.Signature == "") {
		return Proof{}, invalid(fmt.Errorf("%s and %s do not come together", InputHeader, SignatureHeader))
	}
	return p, nil
}

// Strength returns what the proof claims to be, by its label: Channel when
// there is none, and no strength at all for a label that is neither ours.
func (p Proof) Strength() Strength {
	switch {
	case p.Input == "" && p.Signature == "":
		return Channel
	case strings.HasPrefix(p.Input, MACLabel+"="):
		return MAC
	case strings.HasPrefix(p.Input, SignatureLabel+"="):
		return Signature
	}
	return undeclared
}

// one returns the only value of a field, or "" when the field is not there. A
// field that is there and empty is refused: to sign nothing is not to sign.
func one(h http.Header, name string) (string, error) {
	values, there := h[name]
	switch {
	case !there:
		return "", nil
	case len(values) != 1:
		return "", fmt.Errorf("%d lines of %s", len(values), name)
	case values[0] == "":
		return "", fmt.Errorf("%s is empty", name)
	}
	return values[0], nil
}

// setLines puts appended header lines into h, in place of what is there of a proof.
func setLines(h http.Header, lines []byte) {
	for _, name := range []string{InputHeader, SignatureHeader, CertificateHeader} {
		delete(h, name)
	}
	for line := range strings.SplitSeq(strings.TrimSuffix(string(lines), "\r\n"), "\r\n") {
		name, value, _ := strings.Cut(line, ": ")
		h[name] = []string{value}
	}
}

func invalid(cause error) error {
	return problem.New(problem.ProofInvalid, fmt.Errorf("httpsig: verify: %w", cause))
}

func unsigned(cause error) error {
	return problem.New(problem.InternalError, fmt.Errorf("httpsig: sign: %w", cause))
}
