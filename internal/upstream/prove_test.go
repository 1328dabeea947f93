package upstream

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/upstream/upstreamtest"
)

// counter is a prover that counts the requests of a connection.
func counter(dst []byte, c *Conn, r *Request) ([]byte, error) {
	n, _ := c.State.(*int)
	if n == nil {
		n = new(int)
		c.State = n
	}
	*n++
	return AppendField(dst, "Proof", fmt.Sprintf("%d of %s, %d bytes so far", *n, r.Path, len(dst)))
}

// The proof is the last of the head, knows the connection and all that comes
// before it, whatever content follows.
func TestProve(t *testing.T) {
	s := upstreamtest.Listen(t, "tcp", upstreamtest.Always(upstreamtest.Sized("ok")))
	set := newTestSet(t, Config{Prove: counter}, s)
	for i, r := range []*Request{
		someRequest("GET", "/a"),
		someRequest("POST", "/b").with(newTestBody("body"), 4),
		someRequest("POST", "/c").with(newTestBody("body"), -1),
		someRequest("POST", "/d").with(newTestBody(strings.Repeat("x", aheadLimit+1)), aheadLimit+1),
	} {
		head, err := r.AppendHead(nil)
		if err != nil {
			t.Fatal(err)
		}
		wantServed(t, r.Path, send(set, r), "ok")
		want := fmt.Sprintf("%sProof: %d of %s, %d bytes so far\r\n\r\n", head, i+1, r.Path, len(head))
		if raw := <-s.Requests; !strings.HasPrefix(raw, want) {
			t.Errorf("%s: arrived %.400q, want %q first", r.Path, raw, want)
		}
	}
}

// A request that is sent again is proved again, on the connection that it takes.
func TestProveAgain(t *testing.T) {
	s := upstreamtest.Listen(t, "tcp", func(c *upstreamtest.Conn) {
		c.Request()
		c.Say(upstreamtest.Sized("ok"))
		c.Request() // and close
	})
	set := newTestSet(t, Config{Prove: counter}, s)
	wantServed(t, "first", send(set, someRequest("GET", "/")), "ok")
	wantServed(t, "second", send(set, someRequest("GET", "/")), "ok")
	for _, want := range []string{"Proof: 1 of", "Proof: 2 of", "Proof: 1 of"} {
		if raw := <-s.Requests; !strings.Contains(raw, want) {
			t.Errorf("arrived %q, want %q", raw, want)
		}
	}
}

// Without its proof a request does not leave, and nobody is blamed for it.
func TestProveFails(t *testing.T) {
	for _, c := range []struct {
		name  string
		prove func(dst []byte, c *Conn, r *Request) ([]byte, error)
		want  problem.Reason
	}{
		{"control", counter, problem.OK},
		{"nothing to prove", func(dst []byte, _ *Conn, _ *Request) ([]byte, error) { return dst, nil }, problem.OK},
		{"a reason", func(dst []byte, _ *Conn, _ *Request) ([]byte, error) {
			return dst, fmt.Errorf("sign: %w", problem.New(problem.TokenUnavailable, errTest))
		}, problem.TokenUnavailable},
		{"no reason", func([]byte, *Conn, *Request) ([]byte, error) { return nil, errors.New("no key") }, problem.InternalError},
		{"an error that says ok", func(dst []byte, _ *Conn, _ *Request) ([]byte, error) {
			return dst, problem.New(problem.OK, nil)
		}, problem.InternalError},
		{"the head is lost", func([]byte, *Conn, *Request) ([]byte, error) { return nil, nil }, problem.InternalError},
		{"half a line", func(dst []byte, _ *Conn, _ *Request) ([]byte, error) { return append(dst, "Proof: x"...), nil }, problem.InternalError},
		{"the end of the head", func(dst []byte, _ *Conn, _ *Request) ([]byte, error) { return append(dst, "\r\n"...), nil }, problem.InternalError},
		{"more than the head", func(dst []byte, _ *Conn, _ *Request) ([]byte, error) {
			return append(dst, "Proof: x\r\n\r\nGET / HTTP/1.1\r\n"...), nil
		}, problem.InternalError},
	} {
		s := upstreamtest.Listen(t, "tcp", upstreamtest.Always(upstreamtest.Sized("ok")))
		set := newTestSet(t, Config{Prove: c.prove}, s)
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			wantReason(t, c.name, send(set, someRequest(method, "/")), c.want)
		}
		sent := 0
		if c.want == problem.OK {
			sent = 2
		}
		wantRequests(t, c.name, s, sent)
		if in := set.Status()[0]; in.Failures != 0 || in.Outstanding != 0 || !in.Healthy {
			t.Errorf("%s: the instance stands at %+v", c.name, in)
		}
	}
}

// A length without a body would leave the service waiting for it.
func TestLengthWithoutBody(t *testing.T) {
	s := upstreamtest.Listen(t, "tcp", upstreamtest.Always(upstreamtest.Sized("ok")))
	set := newTestSet(t, Config{}, s)
	wantServed(t, "control", send(set, someRequest("POST", "/").with(newTestBody("not read"), 0)), "ok")
	for _, length := range []int64{1, -1} {
		wantReason(t, fmt.Sprint(length), send(set, someRequest("POST", "/").with(nil, length)), problem.InternalError)
	}
	wantRequests(t, "all", s, 1)
	if raw := <-s.Requests; !strings.HasSuffix(raw, "\r\nContent-Length: 0\r\n\r\n") {
		t.Errorf("control arrived as %q", raw)
	}
}
