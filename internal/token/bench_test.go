package token

import (
	"testing"
	"time"
)

func BenchmarkMint(b *testing.B) {
	r := ring{newKey(b, "k1")}
	m := newMinter(b, r, time.Now)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := m.Mint(b.Context(), ann); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerify(b *testing.B) {
	at := &clock{start}
	r := ring{newKey(b, "k1")}
	value := mint(b, newMinter(b, r, at.Now)).Value
	for _, c := range []struct {
		name       string
		remembered int
	}{{"first", -1}, {"remembered", 0}} {
		b.Run(c.name, func(b *testing.B) {
			v, err := NewVerifier(VerifierConfig{Zone: testZone, Issuer: testIssuer, Keys: r.set(b), Clock: at.Now, Remembered: c.remembered})
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := v.Verify(b.Context(), value); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
