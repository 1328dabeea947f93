package guard

import (
	"strconv"
	"testing"
	"time"

	"sallyport.dev/guard/internal/testca"
	"sallyport.dev/internal/problem"
)

func TestCertificates(t *testing.T) {
	clock := &handClock{now: time.Now()}
	ca, foreign := testca.New(t, "shop.example", clock.Now()), testca.New(t, "shop.example", clock.Now())
	source := ca.Source(t, "orders", clock.Now)
	c := &certificates{source: source, clock: clock.Now}
	chain := func(ca *testca.CA, name string, life time.Duration) [][]byte {
		return ca.Identity(t, name, clock.Now().Add(-time.Minute), clock.Now().Add(life)).Certificate.Certificate
	}
	short := chain(ca, "catalog", time.Minute)
	for range 2 { // the second time from memory
		if _, id, err := c.judge(short); err != nil || id != "spiffe://shop.example/catalog" {
			t.Errorf("a certificate of the zone: %s, %v", id, err)
		}
		if _, id, err := c.judge(chain(foreign, "catalog", time.Hour)); problem.ReasonOf(err) != problem.InsidePeer {
			t.Errorf("of a foreign CA: %s, %v", id, err)
		}
		if _, id, err := c.judge([][]byte{[]byte("no certificate")}); err == nil {
			t.Errorf("of none: %s", id)
		}
	}
	if len(c.known) != 1 {
		t.Errorf("%d certificates are remembered, want 1: what does not hold is not", len(c.known))
	}
	clock.set(clock.Now().Add(2 * time.Minute))
	if _, id, err := c.judge(short); problem.ReasonOf(err) != problem.InsidePeer {
		t.Errorf("a remembered certificate after its end: %s, %v", id, err)
	}
	long := chain(ca, "catalog", time.Hour)
	if _, _, err := c.judge(long); err != nil {
		t.Fatal(err)
	}
	source.Set(foreign.Identity(t, "orders", clock.Now().Add(-time.Minute), clock.Now().Add(time.Hour)))
	if _, id, err := c.judge(long); problem.ReasonOf(err) != problem.InsidePeer {
		t.Errorf("a remembered certificate after the root changed: %s, %v", id, err)
	}
	source.Set(nil)
	if _, id, err := c.judge(long); problem.ReasonOf(err) != problem.InsideUnavailable {
		t.Errorf("without an identity of our own: %s, %v", id, err)
	}
	source.Set(ca.Identity(t, "orders", clock.Now().Add(-time.Minute), clock.Now().Add(time.Hour)))
	for range maxCertificates + 10 {
		c.known[strconv.Itoa(len(c.known))] = holder{}
	}
	if _, _, err := c.judge(long); err != nil || len(c.known) > maxCertificates {
		t.Errorf("%d certificates are remembered: %v", len(c.known), err)
	}
}
