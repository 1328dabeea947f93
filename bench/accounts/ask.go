package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"

	"sallyport.dev/internal/obs"
)

// answer keeps what a handler answers.
type answer struct {
	status int
	header http.Header
	body   bytes.Buffer
}

func (a *answer) Header() http.Header { return a.header }

func (a *answer) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
	}
}

func (a *answer) Write(p []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	return a.body.Write(p)
}

// call is a request that is ready to be answered.
type call struct {
	request *http.Request
	want    int // status
	answer  answer
}

// newCall makes a request from a client address.
func newCall(ctx context.Context, client netip.Addr, method, path, contentType, body string, want int) (*call, error) {
	ctx = obs.WithRequest(ctx, &obs.Request{CorrelationID: obs.CorrelationID(""), Trace: obs.NewTrace(), Client: client, Listener: "public"})
	r, err := http.NewRequestWithContext(ctx, method, base+path, io.NopCloser(strings.NewReader(body)))
	if err != nil {
		return nil, err
	}
	r.ContentLength = int64(len(body))
	if body != "" {
		r.Header.Set("Content-Type", contentType)
	}
	r.Header.Set("User-Agent", agent)
	return &call{request: r, want: want, answer: answer{header: http.Header{}}}, nil
}

// asJSON is a request of an app.
func asJSON(ctx context.Context, client netip.Addr, path string, body map[string]string, want int) (*call, error) {
	text, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	return newCall(ctx, client, http.MethodPost, path, "application/json", string(text), want)
}

// answered says whether the request got the answer that it is measured for.
func (c *call) answered() error {
	if c.answer.status != c.want {
		return fmt.Errorf("%s %s is answered %d, not %d: %.300s", c.request.Method, c.request.URL.Path, c.answer.status, c.want, c.answer.body.String())
	}
	return nil
}

// do has one request answered.
func (b *bed) do(c *call) error {
	b.mux.ServeHTTP(&c.answer, c.request)
	return c.answered()
}

// homeOf is the address from which the owner of an account comes.
func homeOf(n int) netip.Addr { return netip.AddrFrom4([4]byte{192, 168, byte(n >> 8), byte(n)}) }

// newClient is an address that nobody has come from.
func (b *bed) newClient() netip.Addr {
	b.clients++
	return netip.AddrFrom4([4]byte{10, byte(b.clients >> 16), byte(b.clients >> 8), byte(b.clients)})
}
