package mail

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/textproto"

	gomail "github.com/wneessen/go-mail"
)

// blame says whose fault a failed delivery is.
type blame uint8

const (
	ofServer    blame = iota // it cannot be reached, does not let us in or went away: every letter fares the same
	ofRecipient              // this letter, for now
	forever                  // this letter, for good
)

// verdict is what is made of a failed delivery. Texts of the server are not in
// it: they have the address in them.
type verdict struct {
	blame blame
	cause string // SMTP's code and enhanced code (RFC 3463), else a word
}

// judge reads the error of a delivery.
//
// A refusal for good of the recipient or the content ends the letter. One of the
// sender, of our proof, or of the whole conversation (421) is the server's or the
// map's: no letter is lost for it.
func judge(err error) verdict {
	var failed *gomail.SendError
	if errors.As(err, &failed) && failed.ErrorCode() != 0 {
		v := verdict{cause: fmt.Sprint(failed.ErrorCode())}
		if enhanced := failed.EnhancedStatusCode(); enhanced != "" {
			v.cause += " " + enhanced
		}
		of := failed.Reason == gomail.ErrSMTPRcptTo || failed.Reason == gomail.ErrSMTPData || failed.Reason == gomail.ErrSMTPDataClose
		switch code := failed.ErrorCode(); {
		case !of, code == 421, code == 530, code == 535, code == 538:
		case code >= 500:
			v.blame = forever
		default:
			v.blame = ofRecipient
		}
		return v
	}
	var answer *textproto.Error
	if errors.As(err, &answer) {
		return verdict{ofServer, fmt.Sprint(answer.Code)}
	}
	return verdict{ofServer, "unreachable"}
}

// unbegun says that a connection was of no use before the letter was named: a
// new one may serve.
func unbegun(err error) bool {
	var failed *gomail.SendError
	return errors.As(err, &failed) && judge(err).blame == ofServer &&
		(failed.Reason == gomail.ErrConnCheck || failed.Reason == gomail.ErrSMTPMailFrom)
}

// told is the part of an error that may be logged: all of it when it is ours or
// the network's, the code alone when it is the server's text.
func told(err error) string {
	var failed *gomail.SendError
	var answer *textproto.Error
	var garbled textproto.ProtocolError
	var at stepError
	during := ""
	if errors.As(err, &at) {
		during = map[Step]string{Greet: " to our greeting", Cover: " to STARTTLS", Prove: " to our user and password"}[at.step]
	}
	switch {
	case errors.As(err, &answer), errors.As(err, &failed) && failed.ErrorCode() != 0:
		return "the server answered " + judge(err).cause + during
	case errors.As(err, &failed):
		return "the connection ended while " + failed.Reason.String()
	case errors.As(err, &garbled):
		return "what answers there does not speak SMTP"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "the server hung up"
	case at.step == Prove && !errors.Is(err, errNoWay) && !errors.As(err, new(net.Error)):
		return "the server does not go through with the proof of our password"
	}
	return err.Error()
}
