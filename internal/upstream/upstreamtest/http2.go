package upstreamtest

import (
	"bytes"
	"io"
	"sync"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// HTTP2 is a connection on which a Service speaks frames (RFC 9113), well-formed
// or not.
type HTTP2 struct {
	*Conn
	*http2.Framer
	Opened chan uint32 // streams, as their requests begin
	Reset  chan uint32 // streams that the other side resets

	mu  sync.Mutex
	buf bytes.Buffer
	enc *hpack.Encoder
}

// SpeakHTTP2 takes the preface, says its settings and reads frames until the
// connection ends; it runs serve beside that.
func SpeakHTTP2(serve func(*HTTP2), settings ...http2.Setting) func(*Conn) {
	return func(c *Conn) {
		preface := make([]byte, len(http2.ClientPreface))
		if _, err := io.ReadFull(c.R, preface); err != nil || string(preface) != http2.ClientPreface {
			return
		}
		h := &HTTP2{Conn: c, Framer: http2.NewFramer(c, c.R), Opened: make(chan uint32, 64), Reset: make(chan uint32, 64)}
		h.enc = hpack.NewEncoder(&h.buf)
		if h.WriteSettings(settings...) != nil {
			return
		}
		go serve(h)
		for {
			f, err := h.ReadFrame()
			if err != nil {
				close(h.Opened)
				return
			}
			switch f := f.(type) {
			case *http2.SettingsFrame:
				if !f.IsAck() {
					h.mu.Lock()
					_ = h.WriteSettingsAck()
					h.mu.Unlock()
				}
			case *http2.PingFrame:
				if !f.IsAck() {
					h.mu.Lock()
					_ = h.WritePing(true, f.Data)
					h.mu.Unlock()
				}
			case *http2.HeadersFrame:
				h.Opened <- f.StreamID
			case *http2.RSTStreamFrame:
				h.Reset <- f.StreamID
			}
		}
	}
}

// Fields sends a header section: names and values in turn.
func (h *HTTP2) Fields(stream uint32, end bool, fields ...string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	_ = h.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: h.Block(fields...), EndHeaders: true, EndStream: end})
}

// Block encodes a header section.
func (h *HTTP2) Block(fields ...string) []byte {
	h.buf.Reset()
	for i := 0; i+1 < len(fields); i += 2 {
		_ = h.enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	return bytes.Clone(h.buf.Bytes())
}

// Content sends a piece of a body.
func (h *HTTP2) Content(stream uint32, end bool, text string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	_ = h.WriteData(stream, end, []byte(text))
}

// Locked runs what writes frames by itself beside the answers to PING and SETTINGS.
func (h *HTTP2) Locked(write func() error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	_ = write()
}
