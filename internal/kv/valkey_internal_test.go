package kv

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"sallyport.dev/zone"
)

func TestParseTake(t *testing.T) {
	for _, c := range []struct {
		reply any
		want  Result
		ok    bool
	}{
		{[]any{int64(1), int64(2), int64(3)}, Result{true, 2, 3 * time.Microsecond}, true},
		{[]any{int64(0), int64(0), int64(0)}, Result{}, true},
		{nil, Result{}, false},
		{"OK", Result{}, false},
		{int64(1), Result{}, false},
		{[]any{int64(1), int64(2)}, Result{}, false},
		{[]any{int64(1), int64(2), int64(3), int64(4)}, Result{}, false},
		{[]any{"1", int64(2), int64(3)}, Result{}, false},
		{[]any{nil, int64(2), int64(3)}, Result{}, false},
		{[]any{int64(2), int64(2), int64(3)}, Result{}, false},
		{[]any{int64(1), int64(-1), int64(3)}, Result{}, false},
		{[]any{int64(1), int64(math.MaxInt32 + 1), int64(3)}, Result{}, false},
		{[]any{int64(1), int64(2), int64(math.MaxInt64)}, Result{}, false},
	} {
		if got, err := parseTake(c.reply); got != c.want || (err == nil) != c.ok {
			t.Errorf("%v = %+v, %v, want %+v, ok %v", c.reply, got, err, c.want, c.ok)
		}
	}
}

func FuzzJudge(f *testing.F) {
	f.Add("# Memory\r\nmaxmemory:0\r\nmaxmemory_policy:noeviction\r\nrole:master\r\ncluster_enabled:0\r\naof_enabled:1\r\n")
	f.Add("maxmemory_policy:allkeys-lru")
	f.Add("role:slave\nmaxmemory_policy:noeviction")
	f.Add("")
	f.Fuzz(func(t *testing.T, info string) {
		warnings, err := judge(info)
		if err == nil && strings.HasPrefix(info, "maxmemory_policy:allkeys") && !strings.Contains(info[1:], "maxmemory_policy") {
			t.Errorf("%q is taken", info)
		}
		if len(warnings) > 3 {
			t.Errorf("%d warnings", len(warnings))
		}
	})
}

// hostile is a Valkey whose server says what it likes; it has no heart.
func hostile(t testing.TB, says []byte) *Valkey {
	o := clientOptions(address{network: "tcp", addr: "test"}, nil, 100*time.Millisecond)
	var conns sync.WaitGroup
	o.Dialer = func(context.Context, string, string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		conns.Go(func() { _, _ = io.Copy(io.Discard, theirs) })
		conns.Go(func() {
			_, _ = theirs.Write([]byte("+OK\r\n")) // to HELLO
			_, _ = theirs.Write(says)
			_ = theirs.Close()
		})
		return ours, nil
	}
	v := newValkey(redis.NewClient(o), address{password: "hunter2"}, ValkeyOptions{Zone: "shop", Timeout: 100 * time.Millisecond, Log: slog.New(slog.DiscardHandler)})
	v.parts.Go(v.takeAll)
	v.parts.Go(v.listener.run)
	t.Cleanup(func() {
		_ = v.Close()
		conns.Wait()
	})
	return v
}

// Whatever a server says, nothing falls over, nothing is allowed but by the one
// answer that allows, and no value is larger than values are.
func FuzzReplies(f *testing.F) {
	for _, seed := range []string{
		"*3\r\n:1\r\n:5\r\n:7\r\n", "*3\r\n:0\r\n:0\r\n:7\r\n", "*3\r\n:1\r\n:5\r\n$-1\r\n", "*-1\r\n", "$-1\r\n", "$5\r\nhello\r\n",
		"+OK\r\n", "-NOSCRIPT no\r\n", "-OOM no\r\n", "-ERR unknown command 'AUTH', with args beginning with: 'hunter2'\r\n", "-MOVED 1 a:1\r\n",
		":1\r\n", "*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n", "*3\r\n$7\r\nmessage\r\n:1\r\n:1\r\n", "*1\r\n:1\r\n", "*0\r\n", "*2\r\n$4\r\npong\r\n:1\r\n",
		">2\r\n+a\r\n+b\r\n", "%1\r\n+a\r\n:1\r\n", "#t\r\n", ",1.5\r\n", "(1\r\n", "=5\r\ntxt:a\r\n", "",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, says []byte) {
		if large(says) { // the library makes room for what a server announces; ours is trusted that far
			return
		}
		v := hostile(t, says)
		ctx := t.Context()
		r, err := v.Take(ctx, "key", zone.Rate{Count: 10, Window: time.Minute}, time.Time{})
		if err != nil && (r.Allowed || strings.Contains(err.Error(), "hunter2")) {
			t.Errorf("take: %+v, %v", r, err)
		}
		if err == nil && r.Remaining < 0 {
			t.Errorf("take: %+v", r)
		}
		for name, call := range map[string]func() error{
			"set once": func() error {
				first, err := v.SetNX(ctx, "key", time.Minute)
				if first && err != nil {
					return fmt.Errorf("first, and %w", err)
				}
				return nil
			},
			"get": func() error {
				if b, _, err := v.Get(ctx, "key"); err != nil && b != nil || len(b) > MaxValue {
					return errors.New("a value that is none")
				}
				return nil
			},
			"beat": func() error { _ = v.beat(ctx); return nil },
			"info": func() error { _ = v.inspect(ctx); return nil },
		} {
			v.circuit.close()
			if err := call(); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		if n := v.Gateways(); n < 1 || n > 1<<20 {
			t.Errorf("%d gateways", n)
		}
		v.circuit.close()
		short, cancel := context.WithTimeout(ctx, 5*time.Millisecond)
		defer cancel()
		_, _ = v.Subscribe(short, "news")
	})
}

// large says whether something of four digits or more is announced.
func large(says []byte) bool {
	digits := 0
	for _, b := range says {
		if b >= '0' && b <= '9' {
			if digits++; digits > 3 {
				return true
			}
		} else {
			digits = 0
		}
	}
	return false
}

func TestRedact(t *testing.T) {
	v := &Valkey{address: address{password: "hunter2"}}
	for _, c := range []struct{ text, want string }{
		{"ERR unknown command `AUTH`, with args beginning with: `hunter2`", "ERR unknown command `AUTH` (arguments left out)"},
		{"ERR hunter2 is wrong", "ERR [password] is wrong"},
		{"dial tcp 127.0.0.1:1: connect: connection refused", "dial tcp 127.0.0.1:1: connect: connection refused"},
		{"a\r\nb", "a  b"},
		{strings.Repeat("x", 1000), strings.Repeat("x", maxErrorText)},
	} {
		if got := v.redact(errors.New(c.text)); got != c.want {
			t.Errorf("%q = %q, want %q", c.text, got, c.want)
		}
	}
}

func TestCircuit(t *testing.T) {
	var logged strings.Builder
	c := newCircuit(slog.New(slog.NewTextHandler(&logged, nil)))
	full, dead := fmt.Errorf("a: %w", ErrFull), fmt.Errorf("b: %w", ErrUnavailable)
	is := func(what string, want error) {
		t.Helper()
		if _, err := c.enter(); !errors.Is(err, want) || want == nil && err != nil {
			t.Errorf("%s: %v, want %v", what, err, want)
		}
	}
	is("new", nil)
	during, _ := c.enter()
	c.trip(during, full)
	is("full", ErrFull)
	c.trip(during, dead)
	is("full, then dead", ErrUnavailable)
	c.trip(during, full)
	is("dead, then full", ErrFull)
	if !c.close() {
		t.Error("close says that it was closed")
	}
	is("closed", nil)
	c.trip(during, dead)
	is("closed, and an error of before", nil)
	if c.close() {
		t.Error("close says that it was open")
	}
	if n := strings.Count(logged.String(), "\n"); n != 2 {
		t.Errorf("%d lines logged, want 2:\n%s", n, logged.String())
	}
}
