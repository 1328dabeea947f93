package httpsig

import (
	"crypto/sha256"
	"strconv"
	"testing"
)

func BenchmarkBase(b *testing.B) {
	m := good()
	buf := make([]byte, 0, 4096)
	in := parameters{created: start.Unix(), counter: 123456}
	b.ReportAllocs()
	for b.Loop() {
		cs, n, err := m.components(routeMAC)
		if err != nil {
			b.Fatal(err)
		}
		_, _ = appendUnsigned(buf, MAC, routeMAC, &in, cs[:n])
	}
}

func BenchmarkMACAppend(b *testing.B) {
	s, _ := macPair(b)
	m := good()
	buf := make([]byte, 0, 4096)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Append(buf, &m, routeMAC, start); err != nil {
			b.Fatal(err)
		}
	}
}

// The floor under MACAppend and MACVerify: the MAC alone, of as many bytes.
func BenchmarkMACAlone(b *testing.B) {
	key, base := newKeyed(key32(7)), make([]byte, 1280)
	b.ReportAllocs()
	for b.Loop() {
		_ = key.sum(base)
	}
}

// Each value passes once, so the window is emptied before each round.
func BenchmarkMACVerify(b *testing.B) {
	s, v := macPair(b)
	m := good()
	p := macProof(b, s, m, routeMAC, start)
	b.ReportAllocs()
	for b.Loop() {
		v.window.top, v.window.seen = 0, [windowWords]uint64{}
		if err := v.Verify(&m, routeMAC, p, start); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSignatureAppend(b *testing.B) {
	s := newSVID(b, senderID).signer(b)
	m := good()
	buf := make([]byte, 0, 8192)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Append(buf, &m, routeSig, start); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSignatureVerify(b *testing.B) {
	sender := newSVID(b, senderID)
	m := good()
	p := sender.proof(b, m, routeSig, start)
	v := newVerifier(b, sender)
	b.ReportAllocs()
	for b.Loop() {
		v.replay.shards = [shardCount]shard{}
		for i := range v.replay.shards {
			v.replay.shards[i].most = 100
		}
		if _, err := v.Verify(b.Context(), &m, routeSig, p, start); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkReplay(b *testing.B) {
	r := newReplay(b, ReplayConfig{Entries: 1 << 24})
	in := proofAt(start, "n")
	nonce := make([]byte, 0, nonceSize)
	n := int64(0)
	b.ReportAllocs()
	for b.Loop() {
		n++
		nonce = strconv.AppendInt(nonce[:0], n, 10)
		in.nonce = string(nonce)
		if err := r.once(b.Context(), senderID, in, start); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkWindow(b *testing.B) {
	var w Window
	var c Counter
	b.ReportAllocs()
	for b.Loop() {
		if !w.Accept(c.Next()) {
			b.Fatal("refused")
		}
	}
}

func BenchmarkDigest(b *testing.B) {
	body := blob(1024)
	header := Digest(body)
	b.ReportAllocs()
	for b.Loop() {
		if err := CheckDigest(header, sha256.Sum256(body)); err != nil {
			b.Fatal(err)
		}
	}
}
