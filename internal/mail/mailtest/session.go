package mailtest

import (
	"errors"
	"io"
	"slices"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// session is one conversation.
type session struct {
	server  *Server
	conn    *smtp.Conn
	stopped chan struct{}
	proved  bool
	from    string
	to      []string
}

// at does what the test wants at a stage.
func (s *session) at(stage Stage, address string) error {
	s.server.mu.Lock()
	answer := s.server.answer
	s.server.mu.Unlock()
	if answer == nil {
		return nil
	}
	switch r := answer(stage, address); {
	case r.hang:
		// Nothing is read meanwhile but the end: the client sends nothing before it has an answer.
		gone := make(chan struct{})
		go func() {
			defer close(gone)
			_, _ = io.Copy(io.Discard, s.conn.Conn())
		}()
		select {
		case <-gone:
		case <-s.stopped:
		}
		return errors.New("hung")
	case r.hangUp:
		_ = s.conn.Conn().Close()
		return errors.New("hung up")
	case r.code != 0:
		return &smtp.SMTPError{Code: r.code, EnhancedCode: smtp.NoEnhancedCode, Message: r.text}
	}
	return nil
}

// AuthMechanisms: a server in clear asks for nothing.
func (s *session) AuthMechanisms() []string {
	if s.server.tls == nil {
		return nil
	}
	return []string{sasl.Plain}
}

func (s *session) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if err := s.at(Auth, user); err != nil {
			return err
		}
		if user != User || password != Password {
			return smtp.ErrAuthFailed
		}
		s.proved = true
		return nil
	}), nil
}

func (s *session) Mail(from string, _ *smtp.MailOptions) error {
	if s.server.tls != nil && !s.proved {
		return smtp.ErrAuthRequired
	}
	s.from, s.to = from, nil
	return s.at(Mail, from)
}

func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.to = append(s.to, to)
	return s.at(Rcpt, to)
}

func (s *session) Data(r io.Reader) error {
	raw, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	if err := s.at(Data, s.to[0]); err != nil {
		return err
	}
	m, err := parse(raw)
	if err != nil {
		return &smtp.SMTPError{Code: 554, EnhancedCode: smtp.EnhancedCode{5, 6, 0}, Message: err.Error()}
	}
	m.From, m.To = s.from, slices.Clone(s.to)
	s.server.keep(m)
	return s.at(Accepted, s.to[0])
}

func (s *session) Reset()        { s.from, s.to = "", nil }
func (s *session) Logout() error { return nil }
