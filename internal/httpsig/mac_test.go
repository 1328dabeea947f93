package httpsig

import (
	"strings"
	"sync"
	"testing"
	"time"

	"sallyport.dev/internal/problem"
)

func TestMACIsOfOneConnection(t *testing.T) {
	s, v := macPair(t)
	m := good()
	p := macProof(t, s, m, routeMAC, start)
	other, err := NewMACVerifier(key32(8))
	if err != nil {
		t.Fatal(err)
	}
	wantReason(t, "at another connection", other.Verify(&m, routeMAC, p, start), problem.ProofInvalid)
	wantReason(t, "at its own", v.Verify(&m, routeMAC, p, start), problem.OK)
	for _, size := range []int{0, 16, 31, 33, 64} {
		if _, err := NewMACSigner(make([]byte, size)); err == nil {
			t.Errorf("signer of %d bytes", size)
		}
		if _, err := NewMACVerifier(make([]byte, size)); err == nil {
			t.Errorf("verifier of %d bytes", size)
		}
	}
}

func TestMACLife(t *testing.T) {
	s, v := macPair(t)
	m := good()
	for _, c := range []struct {
		after time.Duration // from signing to checking
		want  problem.Reason
	}{
		{-31 * time.Second, problem.ProofExpired},
		{-30 * time.Second, problem.OK},
		{0, problem.OK},
		{90 * time.Second, problem.OK},
		{91 * time.Second, problem.ProofExpired},
		{24 * time.Hour, problem.ProofExpired},
	} {
		p := macProof(t, s, m, routeMAC, start)
		wantReason(t, c.after.String(), v.Verify(&m, routeMAC, p, start.Add(c.after)), c.want)
	}
}

func TestStreamHasNoDigest(t *testing.T) {
	s, v := macPair(t)
	m := good()
	if _, err := s.Append(nil, &m, streamMAC, start); err == nil {
		t.Error("a digest was left out of the proof and sent all the same")
	}
	m.Digest = ""
	if _, err := s.Append(nil, &m, routeMAC, start); err == nil {
		t.Error("signed without digest on a route that has one")
	}
	p := macProof(t, s, m, streamMAC, start)
	wantReason(t, "on another route", v.Verify(&m, routeMAC, p, start), problem.ProofInvalid)
	withDigest := good()
	wantReason(t, "with a digest", v.Verify(&withDigest, streamMAC, p, start), problem.ProofInvalid)
	wantReason(t, "as sent", v.Verify(&m, streamMAC, p, start), problem.OK)
}

func TestAppendKeepsWhatIsThere(t *testing.T) {
	s, v := macPair(t)
	m := good()
	head := []byte("POST / HTTP/1.1\r\n")
	out, err := s.Append(head, &m, routeMAC, start)
	if err != nil {
		t.Fatal(err)
	}
	lines, ok := strings.CutPrefix(string(out), string(head))
	if !ok || strings.Count(lines, "\r\n") != 2 || !strings.HasSuffix(lines, "\r\n") {
		t.Errorf("head %q", out)
	}
	wantReason(t, "appended", v.Verify(&m, routeMAC, proofOf(t, []byte(lines)), start), problem.OK)

	m.Correlation = "two\r\nlines"
	out, err = s.Append(head, &m, routeMAC, start)
	if string(out) != string(head) || problem.ReasonOf(err) != problem.InternalError {
		t.Errorf("a message that cannot be signed: %q, %v", out, err)
	}
}

func TestSetReplaces(t *testing.T) {
	s, v := macPair(t)
	m := good()
	r := received(m, Proof{Input: "a", Signature: "b", Certificate: "c"})
	if err := s.Set(r.Header, &m, routeMAC, start); err != nil {
		t.Fatal(err)
	}
	p, err := ProofFrom(r.Header)
	if err != nil || p.Certificate != "" {
		t.Fatalf("%+v, %v", p, err)
	}
	wantReason(t, "set", v.Verify(&m, routeMAC, p, start), problem.OK)
	if err := s.Set(r.Header, &m, routeSig, start); problem.ReasonOf(err) != problem.ProofDowngraded {
		t.Errorf("a mac for a route that demands a signature: %v", err)
	}
}

// Many requests of one connection at once: each proof passes once, and the
// numbers never meet.
func TestMACConcurrently(t *testing.T) {
	s, v := macPair(t)
	m := good()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 100 {
				lines, err := s.Append(nil, &m, routeMAC, start)
				if err != nil {
					t.Error(err)
					return
				}
				p := proofOf(t, lines)
				wantReason(t, "first", v.Verify(&m, routeMAC, p, start), problem.OK)
				wantReason(t, "second", v.Verify(&m, routeMAC, p, start), problem.ProofReplayed)
			}
		})
	}
	wg.Wait()
	if got := s.counter.Next(); got != 801 {
		t.Errorf("the counter stands at %d, want 801", got)
	}
}
