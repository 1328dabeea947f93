package mail

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	netmail "net/mail"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	maxAddress  = 254            // what SMTP can carry (RFC 5321 section 4.5.3.1.3, less the angle brackets)
	maxKind     = 40             // bytes
	maxLanguage = 35             // bytes, RFC 5646 section 4.4.1
	maxData     = 8 << 10        // bytes of all data of a job
	sizeClass   = 256            // bytes: what is sealed is padded to a multiple
	maxSubject  = 200            // characters
	maxLetter   = 256 << 10      // bytes of a letter
	usualLife   = 24 * time.Hour // of a job that says nothing
	longestLife = 30 * 24 * time.Hour
)

// errAddress says nothing of the address: it may be anything.
var errAddress = errors.New("mail: the address is not one of ASCII characters like name@example.org")

// Job asks for a letter: what happened, and to whom it may be of interest.
type Job struct {
	Kind     string            // one of Kinds, or what Render makes one of
	Address  string            // bare; as typed, or the account's
	User     string            // id of the account; empty when nobody showed that there is one
	Data     map[string]string // for the letter; of 8 KiB at most
	Language string            // tag, RFC 5646; empty: English
	Expires  time.Time         // when the letter is of no use any more; a day when zero, 30 days at most
}

// check says what keeps a job from being stored.
func (j *Job) check() error {
	if j.Kind == "" || len(j.Kind) > maxKind || strings.Trim(j.Kind, "abcdefghijklmnopqrstuvwxyz-") != "" {
		return errors.New("mail: a kind is a word of a to z and -")
	}
	if len(j.Language) > maxLanguage || !utf8.ValidString(j.Language) {
		return errors.New("mail: the language is not a tag such as de-AT")
	}
	size := len(j.User)
	for key, value := range j.Data {
		size += len(key) + len(value)
		if !utf8.ValidString(value) {
			return fmt.Errorf("mail: %s: %s is not UTF-8", j.Kind, key)
		}
	}
	if size > maxData {
		return fmt.Errorf("mail: %s: %d bytes of data are more than %d", j.Kind, size, maxData)
	}
	return checkAddress(j.Address)
}

// checkAddress takes a bare address of visible ASCII: what reaches a header or a
// command of SMTP has one line and one meaning.
func checkAddress(address string) error {
	if len(address) > maxAddress || strings.ContainsFunc(address, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`"(),:;<>[\]`, r) }) {
		return errAddress
	}
	if a, err := netmail.ParseAddress(address); err != nil || a.Name != "" || a.Address != address {
		return errAddress
	}
	return nil
}

// domainOf is the part of an address that may be logged.
func domainOf(address string) string { return address[strings.LastIndexByte(address, '@')+1:] }

// place is what the seal of a row is bound to: a job cannot stand for a letter,
// nor that of one row for another's.
func place(id, state string) string { return "mail_outbox/" + id + "/" + state }

// encode writes v with padding, so that its size tells little.
func encode(v any) ([]byte, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	short := (sizeClass - len(text)%sizeClass) % sizeClass
	return append(text, bytes.Repeat([]byte{' '}, short)...), nil
}

// decode reads what encode wrote.
func decode(text []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more than one value")
	}
	return nil
}
