package mail

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	gomail "github.com/wneessen/go-mail"
)

// Letter is a letter that is ready to be sent.
type Letter struct {
	To      string // bare address
	Subject string // one line
	Text    string
	HTML    string // may be empty
}

// check says what keeps a letter from being sent, whoever wrote it.
func (l *Letter) check() error {
	if err := checkAddress(l.To); err != nil {
		return err
	}
	switch {
	case l.Subject == "" || utf8.RuneCountInString(l.Subject) > maxSubject || strings.ContainsFunc(l.Subject, unicode.IsControl):
		return fmt.Errorf("mail: a subject is one line of 1 to %d characters", maxSubject)
	case l.Text == "":
		return errors.New("mail: a letter has a text")
	case len(l.Text)+len(l.HTML) > maxLetter:
		return fmt.Errorf("mail: %d bytes are more than the %d of a letter", len(l.Text)+len(l.HTML), maxLetter)
	case !utf8.ValidString(l.Subject) || !utf8.ValidString(l.Text) || !utf8.ValidString(l.HTML):
		return errors.New("mail: a letter is not UTF-8")
	}
	return nil
}

// message writes the letter as RFC 5322 and MIME have it. id and date are the
// same at every try, so that who gets it twice can tell.
func (l *Letter) message(from, id string, date time.Time) (*gomail.Msg, error) {
	if err := l.check(); err != nil {
		return nil, err
	}
	m := gomail.NewMsg(gomail.WithNoDefaultUserAgent(), gomail.WithEncoding(gomail.EncodingQP))
	if err := m.From(from); err != nil {
		return nil, errAddress
	}
	if err := m.To(l.To); err != nil {
		return nil, errAddress
	}
	m.Subject(l.Subject)
	m.SetDateWithValue(date.UTC())
	m.SetMessageIDWithValue(id)
	m.SetGenHeader("Auto-Submitted", "auto-generated") // RFC 3834: no program answers it
	m.SetBodyString(gomail.TypeTextPlain, l.Text)
	if l.HTML != "" {
		m.AddAlternativeString(gomail.TypeTextHTML, l.HTML)
	}
	return m, nil
}
