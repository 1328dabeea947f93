package httpsig

import (
	"crypto/sha256"
	"strings"
	"testing"

	"sallyport.dev/internal/problem"
)

func TestDigest(t *testing.T) {
	if got := Digest(nil); got != EmptyDigest {
		t.Errorf("of nothing: %s, want %s", got, EmptyDigest)
	}
	// RFC 9530 appendix D.
	const hello, want = `{"hello": "world"}`, "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:"
	if got := Digest([]byte(hello)); got != want {
		t.Errorf("of %s: %s, want %s", hello, got, want)
	}
	h := NewDigest()
	for i := range len(hello) {
		h.Write([]byte{hello[i]})
	}
	if err := CheckDigest(want, [sha256.Size]byte(h.Sum(nil))); err != nil {
		t.Errorf("in pieces: %v", err)
	}
}

func TestCheckDigest(t *testing.T) {
	sum := sha256.Sum256([]byte(content))
	right := Digest([]byte(content))
	for _, c := range []struct {
		name, header string
		want         problem.Reason
	}{
		{"right", right, problem.OK},
		{"of other content", EmptyDigest, problem.ProofDigest},
		{"missing", "", problem.ProofDigest},
		{"another algorithm", "sha-512" + right[7:], problem.ProofDigest},
		{"no algorithm", right[8:], problem.ProofDigest},
		{"upper case", "SHA-256" + right[7:], problem.ProofDigest},
		{"two algorithms", right + ", sha-512=:AA==:", problem.ProofDigest},
		{"the same twice", right + ", " + right, problem.ProofDigest},
		{"weak one first", "md5=:AAAAAAAAAAAAAAAAAAAAAA==:, " + right, problem.ProofDigest},
		{"parameter", right + ";a", problem.ProofDigest},
		{"space before", " " + right, problem.ProofDigest},
		{"empty", "sha-256=::", problem.ProofDigest},
		{"short", "sha-256=:AAAA:", problem.ProofDigest},
		{"no colon", right[:len(right)-1] + "A", problem.ProofDigest},
		{"not canonical", strings.Replace(EmptyDigest, "U=:", "V=:", 1), problem.ProofDigest},
		{"line break", right[:20] + "\n" + right[21:], problem.ProofDigest},
		{"base64url", strings.NewReplacer("+", "-", "/", "_").Replace(EmptyDigest), problem.ProofDigest},
	} {
		of := sum
		if strings.Contains(c.name, "canonical") || c.name == "base64url" {
			of = sha256.Sum256(nil)
		}
		wantReason(t, c.name+" "+c.header, CheckDigest(c.header, of), c.want)
	}
}
