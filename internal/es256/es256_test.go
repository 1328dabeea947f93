package es256

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/asn1"
	"errors"
	"io"
	"math/big"
	"testing"
)

func newKey(t testing.TB, c elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(c, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// TestBothWays holds both directions against crypto/ecdsa's own functions with
// numbers, over enough keys that short ones come up.
func TestBothWays(t *testing.T) {
	message := []byte("a message")
	sum := sha256.Sum256(message)
	key, other := newKey(t, elliptic.P256()), newKey(t, elliptic.P256())
	for range 600 {
		signature, err := Sign(key, message)
		if err != nil {
			t.Fatal(err)
		}
		r, s := new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])
		if !ecdsa.Verify(&key.PublicKey, sum[:], r, s) {
			t.Fatalf("%x is no signature", signature)
		}
	}
	for range 600 {
		r, s, err := ecdsa.Sign(rand.Reader, key, sum[:])
		if err != nil {
			t.Fatal(err)
		}
		var signature [Size]byte
		r.FillBytes(signature[:32])
		s.FillBytes(signature[32:])
		if !Verify(&key.PublicKey, message, &signature) {
			t.Fatalf("%x is not taken", signature)
		}
	}
	signature, err := Sign(key, message)
	if err != nil {
		t.Fatal(err)
	}
	if Verify(&other.PublicKey, message, &signature) || Verify(&key.PublicKey, []byte("another"), &signature) {
		t.Error("a signature of another key or message is taken")
	}
	signature[40] ^= 1
	if Verify(&key.PublicKey, message, &signature) {
		t.Error("a changed signature is taken")
	}
}

// TestNumbersThatAreNone: zero and the order of the group or more.
func TestNumbersThatAreNone(t *testing.T) {
	key := newKey(t, elliptic.P256())
	good, err := Sign(key, nil)
	if err != nil || !Verify(&key.PublicKey, nil, &good) {
		t.Fatalf("positive control: %v", err)
	}
	n := elliptic.P256().Params().N
	for _, number := range []*big.Int{new(big.Int), n, new(big.Int).Add(n, new(big.Int).SetBytes(good[:3])), new(big.Int).SetBytes(bytes.Repeat([]byte{0xff}, 32))} {
		for _, at := range []int{0, 32} {
			bad := good
			number.FillBytes(bad[at : at+32])
			if Verify(&key.PublicKey, nil, &bad) {
				t.Errorf("%x at %d is taken", number, at)
			}
		}
	}
}

// answering is a signer that answers what it was told to.
type answering struct {
	crypto.Signer
	der []byte
	err error
}

func (a answering) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) { return a.der, a.err }

func TestSignersThatAreNone(t *testing.T) {
	away := errors.New("the module is away")
	if _, err := Sign(answering{err: away}, nil); !errors.Is(err, away) {
		t.Errorf("got %v", err)
	}
	if _, err := Sign(newKey(t, elliptic.P384()), nil); err == nil {
		t.Error("a signature of P-384 is taken")
	}
	if _, err := Sign(answering{der: []byte{0x30, 0x06, 0x02, 0x01, 0x01, 0x02, 0x01, 0x01}}, nil); err != nil {
		t.Errorf("positive control: %v", err)
	}
	for name, der := range map[string][]byte{
		"nothing":          nil,
		"zero":             {0x30, 0x06, 0x02, 0x01, 0x00, 0x02, 0x01, 0x01},
		"negative":         {0x30, 0x06, 0x02, 0x01, 0x80, 0x02, 0x01, 0x01},
		"a zero too many":  {0x30, 0x07, 0x02, 0x02, 0x00, 0x01, 0x02, 0x01, 0x01},
		"one number":       {0x30, 0x03, 0x02, 0x01, 0x01},
		"three numbers":    {0x30, 0x09, 0x02, 0x01, 0x01, 0x02, 0x01, 0x01, 0x02, 0x01, 0x01},
		"more behind":      {0x30, 0x06, 0x02, 0x01, 0x01, 0x02, 0x01, 0x01, 0x00},
		"a longer length":  {0x30, 0x81, 0x06, 0x02, 0x01, 0x01, 0x02, 0x01, 0x01},
		"a number cut off": {0x30, 0x06, 0x02, 0x01, 0x01, 0x02, 0x02, 0x01},
	} {
		if _, err := Sign(answering{der: der}, nil); !errors.Is(err, errSigner) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestPublicKey(t *testing.T) {
	if _, err := PublicKey(&newKey(t, elliptic.P256()).PublicKey); err != nil {
		t.Error(err)
	}
	var none *ecdsa.PublicKey
	for _, key := range []crypto.PublicKey{nil, none, "key", &newKey(t, elliptic.P384()).PublicKey} {
		if _, err := PublicKey(key); err == nil {
			t.Errorf("%T is taken", key)
		}
	}
}

// FuzzDER: what is read is what encoding/asn1 reads, and has one spelling.
func FuzzDER(f *testing.F) {
	key := newKey(f, elliptic.P256())
	for range 3 {
		der, err := key.Sign(rand.Reader, make([]byte, 32), crypto.SHA256)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(der)
	}
	f.Add([]byte{0x30, 0x06, 0x02, 0x01, 0x01, 0x02, 0x01, 0x7f})
	f.Fuzz(func(t *testing.T, der []byte) {
		var got [Size]byte
		ok := fromDER(&got, der)
		var want struct{ R, S *big.Int }
		rest, err := asn1.Unmarshal(der, &want)
		readable := err == nil && len(rest) == 0 && want.R.Sign() > 0 && want.S.Sign() > 0 && want.R.BitLen() <= 256 && want.S.BitLen() <= 256
		if ok && !readable {
			t.Fatalf("%x is read, encoding/asn1 says %v", der, err)
		}
		if !ok {
			if again, err := asn1.Marshal(want); readable && err == nil && bytes.Equal(again, der) {
				t.Fatalf("%x is not read", der)
			}
			return
		}
		if new(big.Int).SetBytes(got[:32]).Cmp(want.R) != 0 || new(big.Int).SetBytes(got[32:]).Cmp(want.S) != 0 {
			t.Fatalf("%x is read as %x", der, got)
		}
		if back, ok := toDER(nil, &got); !ok || !bytes.Equal(back, der) {
			t.Fatalf("%x is written as %x", der, back)
		}
	})
}
