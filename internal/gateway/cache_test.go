package gateway

import (
	"encoding/binary"
	"sync"
	"testing"
	"time"

	"sallyport.dev/internal/policy"
)

func entryOf(i int, until time.Time) *entry {
	var e entry
	binary.BigEndian.PutUint32(e.key.hash[:], uint32(i)*2654435761) // spread over the shards
	binary.BigEndian.PutUint32(e.key.hash[4:], uint32(i))
	e.key.kind, e.until, e.principal = BearerCredential, until, &policy.Principal{Kind: policy.User, Subject: "u"}
	return &e
}

func TestPrincipalsAreBounded(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	const most = 1024
	p := newPrincipals(most)
	for i := range 10 * most {
		p.put(entryOf(i, now.Add(time.Second)), 0, now)
	}
	total := 0
	for i := range p.shards {
		total += len(p.shards[i].entries)
	}
	if total > most || total < most/2 {
		t.Errorf("%d entries are remembered, want at most %d and most of them", total, most)
	}
	last := entryOf(10*most-1, now)
	if p.get(last.key, now) == nil {
		t.Error("the last one put is not there")
	}
	if p.get(last.key, now.Add(time.Second)) != nil {
		t.Error("an entry is believed at its end")
	}
}

func TestPutAfterForgetIsNotKept(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	p := newPrincipals(64)
	e := entryOf(1, now.Add(time.Minute))
	asked := p.generation.Load()
	p.put(e, asked, now)
	if p.get(e.key, now) != e {
		t.Fatal("positive control: an entry is kept")
	}
	p.forget(e.key.hash)
	if p.get(e.key, now) != nil {
		t.Error("forgotten, and found")
	}
	p.put(e, asked, now)
	if p.get(e.key, now) != nil {
		t.Error("an answer to a question from before the revocation was kept")
	}
	p.put(e, p.generation.Load(), now)
	p.forgetSubject("u")
	if p.get(e.key, now) != nil {
		t.Error("its subject was forgotten, and it was found")
	}
}

// TestPrincipalsTogether lets the race detector look, and then checks that
// nothing survives a last revocation.
func TestPrincipalsTogether(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	p := newPrincipals(256)
	var all sync.WaitGroup
	for w := range 4 {
		all.Go(func() {
			for i := range 2000 {
				e := entryOf(i%300, now.Add(time.Minute))
				g := p.generation.Load()
				p.put(e, g, now)
				p.get(e.key, now)
				if i%50 == w {
					p.forget(e.key.hash)
				}
				if i%500 == w {
					p.forgetSubject("u")
				}
			}
		})
	}
	all.Wait()
	p.forgetSubject("u")
	for i := range 300 {
		if p.get(entryOf(i, now).key, now) != nil {
			t.Fatalf("entry %d survived", i)
		}
	}
}

func BenchmarkPrincipals(b *testing.B) {
	now := time.Unix(1_700_000_000, 0)
	p := newPrincipals(maxPrincipals)
	for i := range 1000 {
		p.put(entryOf(i, now.Add(time.Minute)), 0, now)
	}
	key := entryOf(500, now).key
	b.ReportAllocs()
	for b.Loop() {
		if p.get(key, now) == nil {
			b.Fatal("not found")
		}
	}
}
