package token

import (
	"encoding/binary"
	"fmt"
	"sync"
	"testing"
	"time"
)

// digestOf returns the nth digest of one shard.
func digestOf(shard byte, n int) digest {
	var d digest
	d[0] = shard
	binary.BigEndian.PutUint64(d[8:], uint64(n)) //nolint:gosec // small
	return d
}

func entryUntil(at time.Time) entry { return entry{claims: &Claims{Expires: at.Unix()}} }

func TestCacheIsBounded(t *testing.T) {
	c := newCache(10 * shardCount)
	for n := range 1000 {
		c.put(digestOf(0, n), entryUntil(start.Add(time.Minute)), start)
	}
	if got := c.size(); got != 10 {
		t.Errorf("%d entries, want 10", got)
	}
	for n, want := range map[int]bool{989: false, 990: true, 999: true} { // first in, first out
		if _, got := c.get(digestOf(0, n)); got != want {
			t.Errorf("entry %d remembered: %v, want %v", n, got, want)
		}
	}
}

func TestCacheForgetsTheExpired(t *testing.T) {
	c := newCache(100 * shardCount)
	for n := range 50 {
		c.put(digestOf(0, n), entryUntil(start.Add(time.Minute)), start)
	}
	c.put(digestOf(0, 50), entryUntil(start.Add(2*time.Minute)), start.Add(time.Minute))
	if got := c.size(); got != 1 {
		t.Errorf("%d entries after all but one expired, want 1", got)
	}
}

func TestCacheDropAndPutAgain(t *testing.T) {
	c := newCache(2 * shardCount)
	until := entryUntil(start.Add(time.Minute))
	for range 100 { // a dropped entry leaves its place in the ring behind: that must not leak
		c.put(digestOf(0, 1), until, start)
		c.drop(digestOf(0, 1))
	}
	c.put(digestOf(0, 1), until, start)
	c.put(digestOf(0, 1), until, start)
	if got := c.size(); got != 1 {
		t.Errorf("%d entries, want 1", got)
	}
	if got := len(c.shards[0].order); got != 2 {
		t.Errorf("a ring of %d places, want 2", got)
	}
}

func TestNilCache(t *testing.T) {
	var c *cache
	c.put(digest{}, entry{}, start)
	c.drop(digest{})
	if _, ok := c.get(digest{}); ok {
		t.Error("the nil cache remembers")
	}
	v, err := NewVerifier(VerifierConfig{Zone: testZone, Issuer: testIssuer, Keys: KeySet{}, Remembered: -1})
	if err != nil || v.cache != nil {
		t.Errorf("Remembered -1: %v, %v, want no cache", v, err)
	}
}

func TestVerifyConcurrently(t *testing.T) {
	at := &clock{start}
	r := ring{newKey(t, "k1")}
	m := newMinter(t, r, at.Now)
	v := newVerifier(t, r.set(t), at.Now)
	var values []string
	for i := range 8 {
		tok, err := m.Mint(t.Context(), Subject{Subject: fmt.Sprint("user", i)})
		if err != nil {
			t.Fatal(err)
		}
		values = append(values, tok.Value)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range 100 {
				n := i % len(values)
				if c, err := v.Verify(t.Context(), values[n]); err != nil || c.Subject != fmt.Sprint("user", n) {
					t.Errorf("token %d: %v, %v", n, c, err)
				}
			}
		})
	}
	wg.Wait()
	if got := v.cache.size(); got != len(values) {
		t.Errorf("%d tokens remembered, want %d", got, len(values))
	}
}
