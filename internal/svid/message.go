package svid

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

const (
	maxIdentities = 64 // in one message
	maxHint       = 1 << 10
)

// message is an X509SVIDResponse of the Workload API, as far as it is used.
// Foreign trust domains are not.
type message struct {
	svids       []*received
	revocations int // number of lists
}

// received is an X509SVID of it, undecoded. The key is a part of the message,
// which its reader clears; parsed certificates keep their bytes.
type received struct {
	id     string // spiffe_id
	chain  []byte // x509_svid: DER, concatenated, leaf first
	key    []byte // x509_svid_key: PKCS#8
	bundle []byte // DER, concatenated
}

var errWire = errors.New("the message is no protocol buffer")

// parseMessage reads an X509SVIDResponse. Fields that it does not know are
// skipped, as the protocol wants; a known field of the wrong type, one that
// occurs twice and a mandatory one that is empty are errors.
func parseMessage(b []byte) (*message, error) {
	m := &message{}
	err := eachField(b, 2, func(num protowire.Number, value []byte) error {
		switch num {
		case 1:
			if len(m.svids) == maxIdentities {
				return fmt.Errorf("more than %d identities", maxIdentities)
			}
			r, err := parseReceived(value)
			if err != nil {
				return fmt.Errorf("identity %d: %w", len(m.svids)+1, err)
			}
			m.svids = append(m.svids, r)
		case 2:
			m.revocations++
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("message of the Workload API: %w", err)
	}
	return m, nil
}

func parseReceived(b []byte) (*received, error) {
	var fields [6][]byte // by number
	err := eachField(b, 5, func(num protowire.Number, value []byte) error {
		if fields[num] != nil {
			return fmt.Errorf("field %d occurs twice", num)
		}
		fields[num] = value
		return nil
	})
	if err != nil {
		return nil, err
	}
	for num, value := range fields[1:5] {
		if len(value) == 0 {
			return nil, fmt.Errorf("the mandatory field %d is empty (Workload API section 4.5)", num+1)
		}
	}
	if len(fields[1]) > maxID || len(fields[5]) > maxHint || !utf8.Valid(fields[1]) || !utf8.Valid(fields[5]) {
		return nil, errors.New("a text is too long or no UTF-8")
	}
	return &received{id: string(fields[1]), chain: bytes.Clone(fields[2]), key: fields[3], bundle: bytes.Clone(fields[4])}, nil
}

// eachField calls visit with the fields up to a number, which are all
// length-delimited, as they come, and skips the others.
func eachField(b []byte, last protowire.Number, visit func(protowire.Number, []byte) error) error {
	for len(b) > 0 {
		num, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return errWire
		}
		b = b[n:]
		if num > last {
			if n = protowire.ConsumeFieldValue(num, kind, b); n < 0 {
				return errWire
			}
			b = b[n:]
			continue
		}
		if kind != protowire.BytesType {
			return fmt.Errorf("field %d is of the wrong type", num)
		}
		value, n := protowire.ConsumeBytes(b)
		if n < 0 {
			return errWire
		}
		if err := visit(num, value); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// choose returns the identity of the service, the first one for none; nil when
// it is not there. The ID decides: a hint is an operator's word, no name.
func (m *message) choose(service string) (*received, error) {
	for _, r := range m.svids {
		id, err := parseID(r.id)
		if err != nil {
			return nil, fmt.Errorf("message of the Workload API: %.80q is no SPIFFE ID: %w", r.id, err)
		}
		if service == "" || id.Path() == "/"+service {
			return r, nil
		}
	}
	return nil, nil
}

// identity decodes what was received.
func (r *received) identity() (*Identity, error) {
	certs, err := x509.ParseCertificates(r.chain)
	if err != nil {
		return nil, fmt.Errorf("certificates of %.80q: %w", r.id, err)
	}
	roots, err := x509.ParseCertificates(r.bundle)
	if err != nil {
		return nil, fmt.Errorf("roots of %.80q: %w", r.id, err)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(r.key)
	if err != nil {
		return nil, fmt.Errorf("the private key of %.80q is not PKCS#8", r.id) // the cause may quote it
	}
	key, ok := parsed.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("the private key of %.80q does not sign", r.id)
	}
	i, err := NewIdentity(raw(certs), key, roots)
	if err != nil {
		return nil, err
	}
	if i.ID.String() != r.id {
		return nil, fmt.Errorf("the certificate is that of %s, the message says %.80q", i.ID, r.id)
	}
	return i, nil
}

func raw(certs []*x509.Certificate) [][]byte {
	all := make([][]byte, len(certs))
	for i, c := range certs {
		all[i] = c.Raw
	}
	return all
}
