package upstream

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"sallyport.dev/internal/upstream/upstreamtest"
)

// transportCase is an answer as it is on the wire, after which the connection
// ends. When net/http.Transport makes something else of it, stricter says why we
// refuse what it takes, looser why we take what it refuses.
type transportCase struct {
	name, method, answer string
	stricter, looser     string
}

// seen is what a client made of an answer: a status and a whole body, or nothing.
type seen struct {
	status int
	body   string
	err    error
}

func (s seen) String() string {
	if s.err != nil {
		return fmt.Sprintf("refused: %.200v", s.err)
	}
	return fmt.Sprintf("%d %.60q", s.status, s.body)
}

// oneAnswer is a service that answers one request of a connection.
func oneAnswer(t *testing.T, answer string) *upstreamtest.Service {
	return upstreamtest.Listen(t, "tcp", func(c *upstreamtest.Conn) { c.Head(); c.Say(answer) })
}

func bySet(t *testing.T, c transportCase) seen {
	set := newTestSet(t, Config{}, oneAnswer(t, c.answer))
	x, err := set.Send(t.Context(), someRequest(c.method, "/"))
	if err != nil {
		return seen{err: err}
	}
	defer x.Close()
	body, err := io.ReadAll(x)
	return seen{x.Status, string(body), err}
}

func byTransport(t *testing.T, c transportCase) seen {
	tr := &http.Transport{DisableCompression: true, DisableKeepAlives: true}
	r, err := http.NewRequestWithContext(t.Context(), c.method, "http://"+oneAnswer(t, c.answer).Address, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := tr.RoundTrip(r)
	if err != nil {
		return seen{err: err}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return seen{resp.StatusCode, string(body), err}
}

// TestLikeTransport holds our reading of answers against net/http.Transport's:
// the same status and body, or one of us refuses, and it is said why.
func TestLikeTransport(t *testing.T) {
	for _, c := range transportCases() {
		if c.method == "" {
			c.method = http.MethodGet
		}
		ours, theirs := bySet(t, c), byTransport(t, c)
		what := fmt.Sprintf("%s: %s %.200q\nours: %v\nTransport: %v\n", c.name, c.method, c.answer, ours, theirs)
		switch {
		case ours.err != nil && theirs.err == nil:
			if c.stricter == "" {
				t.Errorf("%swe refuse it, and nobody says why", what)
			}
			continue
		case ours.err == nil && theirs.err != nil:
			if c.looser == "" {
				t.Errorf("%swe take what Transport refuses", what)
			}
			continue
		case ours.err == nil && (ours.status != theirs.status || ours.body != theirs.body):
			t.Errorf("%swe read different answers", what)
		}
		if c.stricter != "" || c.looser != "" {
			t.Errorf("%swe agree, though it is said that we are %q%q", what, c.stricter, c.looser)
		}
	}
}

// ok is the head of an answer with these lines, and what follows it.
func ok(lines, rest string) string {
	return "HTTP/1.1 200 OK\r\n" + strings.ReplaceAll(lines, "\n", "\r\n") + "\r\n" + rest
}
