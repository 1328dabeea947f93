package upstream

import (
	"crypto/sha1" // #nosec G505 -- RFC 6455 section 1.3 asks for it; nothing is kept secret by it
	"encoding/base64"
	"errors"
	"net/http"
	"slices"
	"strings"
)

// Handshake is the opening handshake of a WebSocket (RFC 6455 section 4), read
// strictly from what a client sent: whatever two readers could take for another
// upgrade, or for none, is no handshake.
type Handshake struct {
	key        string
	protocols  []string // subprotocols that the client offers
	extensions []string // fields as they came
	names      []string // of the extensions that the client offers
}

// maxOffers bounds the subprotocols, and the extensions, that a client offers.
const maxOffers = 32

var errHandshake = errors.New("no opening handshake of a WebSocket")

// ReadHandshake reads the handshake of a GET request over HTTP/1.1 from its
// fields. The error says which of them is wrong and quotes none.
func ReadHandshake(h http.Header) (*Handshake, error) {
	s := &Handshake{}
	switch {
	case len(h["Upgrade"]) != 1 || !strings.EqualFold(h["Upgrade"][0], "websocket") || !Nominated(h["Connection"], "upgrade"):
		return nil, errHandshake
	case len(h["Sec-Websocket-Version"]) != 1 || h["Sec-Websocket-Version"][0] != "13":
		return nil, errors.New("Sec-WebSocket-Version is not 13")
	case len(h["Sec-Websocket-Key"]) != 1 || !validKey(h["Sec-Websocket-Key"][0]):
		return nil, errors.New("Sec-WebSocket-Key is not 16 bytes in base64")
	}
	s.key = h["Sec-Websocket-Key"][0]
	for _, f := range h["Sec-Websocket-Protocol"] {
		for p := range strings.SplitSeq(f, ",") {
			p = strings.Trim(p, " \t")
			if !isToken(p) || slices.Contains(s.protocols, p) || len(s.protocols) == maxOffers {
				return nil, errors.New("Sec-WebSocket-Protocol is not a list of different tokens")
			}
			s.protocols = append(s.protocols, p)
		}
	}
	s.extensions = h["Sec-Websocket-Extensions"]
	var ok bool
	if s.names, ok = extensionNames(s.extensions); !ok {
		return nil, errors.New("Sec-WebSocket-Extensions is not a list of extensions")
	}
	return s, nil
}

// validKey: 16 bytes, and no second spelling of them.
func validKey(s string) bool {
	var b [18]byte
	n, err := base64.StdEncoding.Strict().Decode(b[:], []byte(s[:min(len(s), 24)]))
	return err == nil && n == 16 && len(s) == 24
}

// extensionNames returns the names of the extensions in the fields (RFC 6455
// section 9.1).
func extensionNames(fields []string) (names []string, ok bool) {
	for _, f := range fields {
		for e := range strings.SplitSeq(f, ",") {
			name, params, has := strings.Cut(e, ";")
			name = strings.Trim(name, " \t")
			if !isToken(name) || len(names) == maxOffers {
				return nil, false
			}
			names = append(names, name)
			for has {
				var p string
				p, params, has = strings.Cut(params, ";")
				key, value, valued := strings.Cut(p, "=")
				// The value is a token, also when it is written in quotes.
				if len(value) > 1 && value[0] == '"' && strings.HasSuffix(strings.TrimRight(value, " \t"), `"`) {
					value = strings.Trim(value, " \t")
					value = value[1 : len(value)-1]
				}
				if !isToken(strings.Trim(key, " \t")) || valued && !isToken(strings.Trim(value, " \t")) {
					return nil, false
				}
			}
		}
	}
	return names, true
}

// isToken says whether s is a token (RFC 9110 section 5.6.2).
func isToken(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0:
		default:
			return false
		}
	}
	return s != ""
}

// appendTo appends the fields of the handshake to the head of a request.
func (s *Handshake) appendTo(dst []byte) ([]byte, error) {
	dst = append(dst, "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"...)
	dst, err := AppendField(dst, "Sec-WebSocket-Key", s.key)
	if err == nil && len(s.protocols) > 0 {
		dst, err = AppendField(dst, "Sec-WebSocket-Protocol", strings.Join(s.protocols, ", "))
	}
	for _, e := range s.extensions {
		if err == nil {
			dst, err = AppendField(dst, "Sec-WebSocket-Extensions", e)
		}
	}
	return dst, err
}

// Accept checks that the head of a 101 accepts this handshake and nothing else
// (RFC 6455 section 4.1, what the client must verify).
func (s *Handshake) Accept(h http.Header) error {
	sum := sha1.Sum([]byte(s.key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")) // #nosec G401 -- as above
	upgrade, accept, protocol := h["Upgrade"], h["Sec-Websocket-Accept"], h["Sec-Websocket-Protocol"]
	switch {
	case len(upgrade) != 1 || !strings.EqualFold(upgrade[0], "websocket") || !Nominated(h["Connection"], "upgrade"):
		return errors.New("101 to another upgrade than the one that was asked for")
	case len(accept) != 1 || accept[0] != base64.StdEncoding.EncodeToString(sum[:]):
		return errors.New("101 with a wrong Sec-WebSocket-Accept")
	case len(protocol) > 1 || len(protocol) == 1 && !slices.Contains(s.protocols, protocol[0]):
		return errors.New("101 with a subprotocol that was not offered")
	case len(h["Content-Length"]) > 0 || len(h["Transfer-Encoding"]) > 0:
		return errors.New("101 with the framing of a body")
	}
	names, ok := extensionNames(h["Sec-Websocket-Extensions"])
	if !ok || slices.ContainsFunc(names, func(n string) bool { return !slices.Contains(s.names, n) }) {
		return errors.New("101 with an extension that was not offered")
	}
	return nil
}
