package upstream

import (
	"context"
	"io"
	"testing"

	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/upstream/upstreamtest"
)

// exchanged is the exchange of one request that is answered like this.
func exchanged(t *testing.T, answer string) (*Set, *Exchange) {
	t.Helper()
	set := newTestSet(t, Config{}, upstreamtest.Listen(t, "tcp", func(c *upstreamtest.Conn) { c.Request(); c.Say(answer) }))
	x, err := set.Send(context.Background(), someRequest("GET", "/"))
	if err != nil {
		t.Fatal(err)
	}
	return set, x
}

// What is read after Close would be somebody else's answer.
func TestReadAfterClose(t *testing.T) {
	for _, c := range []struct {
		name string
		read int // bytes before Close
		want error
	}{{"whole", 5, io.EOF}, {"a part", 2, errClosed}, {"nothing", 0, errClosed}} {
		_, x := exchanged(t, upstreamtest.Sized("hello"))
		if _, err := io.ReadFull(x, make([]byte, c.read)); err != nil {
			t.Fatal(err)
		}
		x.Close()
		x.Close() // does nothing
		if n, err := x.Read(make([]byte, 9)); n != 0 || err != c.want {
			t.Errorf("%s: read %d, %v; want %v", c.name, n, err, c.want)
		}
	}
}

// An answer that is cut is an error for ever, and told of its instance once.
func TestCutAnswerStaysCut(t *testing.T) {
	set, x := exchanged(t, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello")
	body, first := io.ReadAll(x)
	_, again := x.Read(make([]byte, 9))
	if string(body) != "hello" || problem.ReasonOf(first) != problem.UpstreamProtocol || again != first {
		t.Errorf("read %q, %v, then %v", body, first, again)
	}
	x.Close()
	if in := set.Status()[0]; in.Failures != 1 || in.Outstanding != 0 || in.Idle != 0 {
		t.Errorf("the instance stands at %+v, want one failure", in)
	}
}

// A connection that was cut is not kept, even when the whole answer had come; one
// that was not is.
func TestCutIsNotKept(t *testing.T) {
	for _, cut := range []bool{false, true} {
		set, x := exchanged(t, upstreamtest.Sized("hello"))
		if _, err := io.ReadAll(x); err != nil {
			t.Fatal(err)
		}
		if cut {
			x.Cut()
		}
		x.Close()
		want := Status{URL: set.instances[0].URL, Healthy: true, Idle: 1}
		if cut {
			want.Idle = 0
		}
		if got := set.Status()[0]; got != want {
			t.Errorf("cut %v: %+v, want %+v", cut, got, want)
		}
	}
}
