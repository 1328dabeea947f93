package upstream

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/textproto"
	"strconv"
	"strings"
)

// response is an answer of a service as it is read from a wire: head parsed,
// framing decided (RFC 9112 section 6.3), body still on the way. Lines and
// fields are read by net/textproto and chunks by net/http; what is stricter than
// net/http.ReadResponse is so because two parties that read one answer
// differently are how answers get split. Errors say what is wrong and never quote
// the answer, which may hold anything: they go into the log.
type response struct {
	wire    *wire
	status  int
	header  http.Header
	length  int64 // of the body in bytes; -1: known at its end. For HEAD what GET would have had
	framing framing
	left    int64     // bytes of a sized body still to come
	chunks  io.Reader // of a chunked body
	old     bool      // HTTP/1.0
	closes  bool      // the service ends the connection after this answer
	whole   bool      // the body has been read to its end
}

// framing says how the end of a body is told.
type framing uint8

const (
	noBody framing = iota
	sizedBody
	chunkedBody
	closedBody // by the end of the connection
	tunnel     // no body: another protocol, until either end closes
)

// read reads the final head of the answer to a request of this method. asked is
// the handshake that went with it, nil mostly: only who asks to switch protocols
// may be told so. Interim
// answers are dropped (RFC 9110 section 15.2 lets a proxy do so for what it did
// not ask for): they carry hop-by-hop headers and early hints that no policy has
// seen.
func (a *response) read(w *wire, method string, asked *Handshake) error {
	a.wire = w
	for range interimLimit {
		if err := a.readHead(); err != nil {
			return err
		}
		switch {
		case a.status == http.StatusSwitchingProtocols && asked == nil:
			return errors.New("101 to a request that asked for no upgrade")
		case a.status == http.StatusSwitchingProtocols && a.old:
			return errors.New("101 in HTTP/1.0")
		case a.status == http.StatusSwitchingProtocols:
			a.framing, a.length, a.closes = tunnel, -1, true
			return asked.Accept(a.header)
		case a.status >= 200:
			err := a.frame(method)
			// Whoever wanted to switch and was refused may be of two minds about what
			// comes next on this connection: nothing does.
			a.closes = a.closes || asked != nil
			return err
		}
	}
	return fmt.Errorf("more than %d interim answers", interimLimit)
}

// readHead reads one status line (RFC 9112 section 4) and one field section.
func (a *response) readHead() error {
	line, err := a.wire.tp.ReadLineBytes()
	if err != nil {
		return fmt.Errorf("read status line: %w", early(err))
	}
	// HTTP/1.x SP 3DIGIT [SP reason]
	if len(line) < len("HTTP/1.1 200") || string(line[:7]) != "HTTP/1." || line[8] != ' ' ||
		len(line) > 12 && line[12] != ' ' {
		return errors.New("malformed status line")
	}
	minor, status := line[7], line[9:12]
	if minor != '0' && minor != '1' {
		return errors.New("unknown version in status line")
	}
	a.status = 0
	for _, c := range status {
		if c < '0' || c > '9' {
			return errors.New("malformed status")
		}
		a.status = a.status*10 + int(c-'0')
	}
	if a.status < 100 || a.status > 599 {
		return fmt.Errorf("status %d is out of range", a.status)
	}
	a.old = minor == '0'
	h, err := a.wire.tp.ReadMIMEHeader()
	if err != nil {
		return fmt.Errorf("read field section: %w", unquoted(err))
	}
	a.header = http.Header(h)
	// net/textproto has refused control characters in values and names that are no
	// tokens, but for spaces: "Content-Length : 5" must not pass for another field.
	for name := range a.header {
		if strings.IndexByte(name, ' ') >= 0 {
			return errors.New("space in a field name")
		}
	}
	return nil
}

// frame decides where the body ends.
func (a *response) frame(method string) error {
	// HTTP/1.0 knows persistent connections, but they are not worth the doubt.
	a.closes = a.old || Nominated(a.header["Connection"], "close")
	sizes, codings := a.header["Content-Length"], a.header["Transfer-Encoding"]
	a.length = -1
	switch {
	case len(codings) > 0 && len(sizes) > 0:
		return errors.New("both Content-Length and Transfer-Encoding")
	case len(codings) > 1 || len(codings) == 1 && !strings.EqualFold(codings[0], "chunked"):
		return errors.New("unknown transfer coding")
	case len(codings) == 1 && a.old:
		return errors.New("transfer coding in HTTP/1.0") // RFC 9112 section 6.1
	case len(sizes) > 1:
		return errors.New("more than one Content-Length")
	case len(sizes) == 1:
		n, err := parseLength(sizes[0])
		if err != nil {
			return err
		}
		a.length = n
	}
	a.framing, a.left = closedBody, a.length
	switch {
	case method == http.MethodHead || a.status == http.StatusNoContent || a.status == http.StatusNotModified:
		a.framing = noBody
	case len(codings) == 1:
		a.framing, a.chunks = chunkedBody, httputil.NewChunkedReader(a.wire.br)
	case a.length == 0:
		a.framing = noBody
	case a.length > 0:
		a.framing = sizedBody
	}
	// A 204 has no content (RFC 9110 section 15.3.5). One that announces some may
	// still send it, when the connection already serves somebody else.
	contradicts := a.status == http.StatusNoContent && (len(codings) > 0 || a.length > 0)
	a.closes = a.closes || contradicts || a.framing == closedBody
	a.whole = a.framing == noBody
	return nil
}

// parseLength reads a Content-Length: digits only (RFC 9110 section 8.6).
func parseLength(s string) (int64, error) {
	n, err := strconv.ParseUint(s, 10, 63)
	if err != nil || s[0] == '+' {
		return 0, errors.New("malformed Content-Length")
	}
	return int64(n), nil
}

// Read reads the body. io.EOF comes after the last byte of a whole body only,
// with that byte where its length is known; a body that ends early is io.ErrUnexpectedEOF.
func (a *response) Read(p []byte) (n int, err error) {
	if a.whole {
		return 0, io.EOF
	}
	switch a.framing {
	case sizedBody:
		n, err = a.wire.br.Read(p[:min(int64(len(p)), a.left)])
		a.left -= int64(n)
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		if a.left == 0 {
			a.whole, err = true, io.EOF
		}
	case chunkedBody:
		n, err = a.chunks.Read(p)
		if err == io.EOF {
			if err = a.dropTrailer(); err == nil {
				a.whole, err = true, io.EOF
			}
		}
	case closedBody, tunnel:
		n, err = a.wire.br.Read(p)
		a.whole = err == io.EOF
	}
	return n, err
}

// dropTrailer reads the trailer section behind the last chunk (RFC 9112 section
// 7.1.2). It has to be in form, or nobody could say where the next answer
// begins; nothing of it is used, since no policy has judged it.
func (a *response) dropTrailer() error {
	a.wire.allowance = trailerLimit
	var section []byte
	for {
		line, err := a.wire.br.ReadSlice('\n')
		if err != nil {
			return fmt.Errorf("read trailer section: %w", early(err))
		}
		if !bytes.HasSuffix(line, []byte("\r\n")) {
			return errors.New("malformed trailer section")
		}
		if len(line) == len("\r\n") {
			break
		}
		section = append(section, line...)
	}
	if section == nil {
		return nil
	}
	section = append(section, "\r\n"...)
	if _, err := textproto.NewReader(bufio.NewReader(bytes.NewReader(section))).ReadMIMEHeader(); err != nil {
		return fmt.Errorf("read trailer section: %w", unquoted(err))
	}
	return nil
}

// unquoted is early for what net/textproto says of a malformed line: it quotes it.
func unquoted(err error) error {
	if _, quotes := errors.AsType[textproto.ProtocolError](err); quotes {
		return errMalformedLine
	}
	return early(err)
}

var errMalformedLine = errors.New("malformed line")

// early turns the end of the connection into what it is inside a message.
func early(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
