package svid

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sallyport.dev/internal/problem"
)

// restart runs a Join in a folder until it has an identity or ends.
func (c *controlPart) restart(t *testing.T, j Join) (*Identity, error) {
	t.Helper()
	s, stop := c.with(t, j)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	waited := s.Wait(ctx)
	synctest.Wait()
	if err := stop(); err != nil {
		return nil, err
	}
	if waited != nil {
		return nil, waited
	}
	return s.Current()
}

// TestJoinKeeps: a restart goes on with the identity of the folder, renewed when
// it is past its half; a new token is redeemed.
func TestJoinKeeps(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	synctest.Test(t, func(t *testing.T) {
		c := openControl(t, newAuthority(t, testZone, time.Now()), time.Hour)
		token := c.token("orders")
		first, err := c.restart(t, Join{Token: token, Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(filepath.Join(dir, keptFile))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Fatalf("the file: %v, %v, want mode 0600", info.Mode(), err)
		}
		for name, j := range map[string]Join{"with the spent token": {Token: token, Dir: dir}, "without a token": {Dir: dir}, "as wanted": {Dir: dir, Want: mustID(t, "orders")}} {
			if again, err := c.restart(t, j); err != nil || again.NotAfter != first.NotAfter || !again.Certificate.Leaf.Equal(first.Certificate.Leaf) {
				t.Errorf("%s: %v, %v, want the identity kept", name, again, err)
			}
		}
		if _, err := c.restart(t, Join{Dir: dir, Want: mustID(t, "stock")}); err == nil || !strings.Contains(err.Error(), "folder of its own") {
			t.Errorf("for another service: %v", err)
		}
		time.Sleep(40 * time.Minute)
		second, err := c.restart(t, Join{Dir: dir})
		if joins, renewals, _ := c.counts(); err != nil || joins != 1 || renewals != 1 || second.Certificate.Leaf.Equal(first.Certificate.Leaf) {
			t.Errorf("past its half: %d redemptions, %d renewals, %v; want 1 and 1", joins, renewals, err)
		}
		// The renewed one is kept, still as that of the token.
		third, err := c.restart(t, Join{Token: token, Dir: dir})
		if err != nil || !third.Certificate.Leaf.Equal(second.Certificate.Leaf) {
			t.Errorf("after the renewal: %v, want the renewed identity", err)
		}
		fresh, err := c.restart(t, Join{Token: c.token("stock"), Dir: dir})
		if err != nil || fresh.ID != mustID(t, "stock") {
			t.Errorf("a new token: %v, %v, want it redeemed", fresh, err)
		}
		time.Sleep(2 * time.Hour)
		if _, err := c.restart(t, Join{Dir: dir}); problem.ReasonOf(err) != problem.InsideUnavailable || !strings.Contains(err.Error(), "run `sallyport join stock`") {
			t.Errorf("after its end: %v, want inside.unavailable and what to do", err)
		}
		if back, err := c.restart(t, Join{Token: c.token("stock"), Dir: dir}); err != nil || back.ID != mustID(t, "stock") {
			t.Errorf("after its end, with a new token: %v, %v", back, err)
		}
	})
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("the folder holds %v, %v, want one file", entries, err)
	}
}

// TestKeeperPrivate: what others can read or write is refused, before a token
// is spent.
func TestKeeperPrivate(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(dir, file string) error
		want  string
	}{
		{"private", func(string, string) error { return nil }, ""},
		{"readable by the group", func(_, file string) error { return os.Chmod(file, 0o640) }, "open to other users"},
		{"readable by all", func(_, file string) error { return os.Chmod(file, 0o604) }, "open to other users"},
		{"a folder that others can write", func(dir, _ string) error { return os.Chmod(dir, 0o777) }, "can be written by other users"}, // #nosec G302 -- the attack
		{"a link", func(dir, file string) error {
			return errors.Join(os.Rename(file, filepath.Join(dir, "x")), os.Symlink("x", file))
		}, "symbolic link"},
		{"a folder in its place", func(_, file string) error { return errors.Join(os.Remove(file), os.Mkdir(file, 0o700)) }, "not a regular file"},
		{"empty", func(_, file string) error { return os.Truncate(file, 0) }, "is damaged"},
		{"cut", func(_, file string) error { return os.Truncate(file, 300) }, "is damaged"},
		{"too large", func(_, file string) error { return os.Truncate(file, maxKept+1) }, "larger than"},
		{"of another key", func(_, file string) error {
			b, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			var k kept
			if err := json.Unmarshal(b, &k); err != nil {
				return err
			}
			if k.Key, err = x509.MarshalPKCS8PrivateKey(testKey(t)); err != nil {
				return err
			}
			if b, err = json.Marshal(k); err != nil {
				return err
			}
			return os.WriteFile(file, b, 0o600)
		}, "private key is not that"},
	} {
		dir := filepath.Join(t.TempDir(), "kept")
		file := filepath.Join(dir, keptFile)
		keep, err := openKeeper(dir)
		if err != nil {
			t.Fatal(err)
		}
		own := newAuthority(t, testZone, day()).identity("orders", day(), time.Hour)
		if err := keep.save(own, "t1"); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file+draftMark+"00", nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := c.spoil(dir, file); err != nil {
			t.Fatal(err)
		}
		var got *Identity
		var token string
		if keep, err = openKeeper(dir); err == nil {
			got, token, err = keep.load()
			if _, gone := os.Stat(file + draftMark + "00"); gone == nil {
				t.Errorf("%s: a draft of a start that was cut is left", c.name)
			}
		}
		if c.want == "" && (err != nil || token != "t1" || !got.Certificate.Leaf.Equal(own.Certificate.Leaf)) {
			t.Errorf("%s: %v, %q, %v", c.name, got, token, err)
		}
		if c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want an error with %q", c.name, err, c.want)
		}
	}
	if _, err := openKeeper(filepath.Join("/dev/null", "x")); err == nil {
		t.Error("a folder that cannot be made was opened")
	}
}

// TestCSR: the request proves its key and says nothing else.
func TestCSR(t *testing.T) {
	key, der, err := newKey()
	if err != nil {
		t.Fatal(err)
	}
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil || csr.CheckSignature() != nil || !key.PublicKey.Equal(csr.PublicKey) || len(csr.Extensions) != 0 || csr.Subject.String() != "" {
		t.Errorf("%+v, %v", csr, err)
	}
	sum := sha256.Sum256([]byte("x"))
	if sig, err := ecdsa.SignASN1(rand.Reader, key, sum[:]); err != nil || !ecdsa.VerifyASN1(csr.PublicKey.(*ecdsa.PublicKey), sum[:], sig) {
		t.Error("the key of the request is not the key")
	}
}
