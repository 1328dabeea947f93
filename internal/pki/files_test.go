package pki

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// bundle is a pair as an operator would bring it: a leaf with its chain, and
// the key.
type bundle struct{ cert, key []byte }

func newBundle(t *testing.T, ca *CA, now time.Time, hosts ...string) bundle {
	t.Helper()
	n, err := parseNames(hosts)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := ca.web.inUse.issueLeaf(n, now)
	if err != nil {
		t.Fatal(err)
	}
	both, err := leaf.marshal()
	if err != nil {
		t.Fatal(err)
	}
	cert, key, ok := strings.Cut(string(both), "-----BEGIN PRIVATE KEY")
	if !ok {
		t.Fatal("no key")
	}
	web, err := ca.web.inUse.marshal()
	if err != nil {
		t.Fatal(err)
	}
	chain, _, _ := strings.Cut(string(web), "-----BEGIN PRIVATE KEY")
	return bundle{[]byte(cert + chain), []byte("-----BEGIN PRIVATE KEY" + key)}
}

// folder is where the pair lies.
type folder struct{ cert, key string }

func newFolder(t *testing.T, b bundle) folder {
	t.Helper()
	dir := t.TempDir()
	f := folder{filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")}
	f.put(t, f.cert, b.cert)
	f.put(t, f.key, b.key)
	return f
}

// put replaces a file as tools do that renew certificates: by a rename.
func (folder) put(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path+".new", content, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

func TestFilesAreServed(t *testing.T) {
	ca := openCA(t, newGround(t), time.Now)
	f := newFolder(t, newBundle(t, ca, time.Now(), "shop.example"))
	s, err := Files(t.Context(), f.cert, f.key, []string{"shop.example"}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	client := &tls.Config{RootCAs: trusting(t, ca), ServerName: "shop.example", MinVersion: tls.VersionTLS13}
	if err := handshake(t, s, client); err != nil {
		t.Errorf("client that trusts the CA: %v", err)
	}
	client.RootCAs = x509.NewCertPool()
	if err := handshake(t, s, client); err == nil {
		t.Error("client that trusts nobody: no error")
	}
}

func TestBadFilesAreRefusedAtStart(t *testing.T) {
	ca := openCA(t, newGround(t), time.Now)
	good, other := newBundle(t, ca, time.Now(), "shop.example"), newBundle(t, ca, time.Now(), "shop.example")
	for _, c := range []struct {
		name string
		b    bundle
		ok   bool
	}{
		{"pair", good, true},
		{"key of another certificate", bundle{good.cert, other.key}, false},
		{"exchanged", bundle{good.key, good.cert}, false},
		{"empty certificate", bundle{nil, good.key}, false},
		{"empty key", bundle{good.cert, nil}, false},
		{"not PEM", bundle{[]byte("certificate"), good.key}, false},
		{"cut", bundle{good.cert[:100], good.key}, false},
		{"too large", bundle{append(make([]byte, maxPEM), good.cert...), good.key}, false},
	} {
		f := newFolder(t, c.b)
		if _, err := Files(t.Context(), f.cert, f.key, nil, Options{}); (err == nil) != c.ok {
			t.Errorf("%s: %v, want ok %v", c.name, err, c.ok)
		}
	}
	f := newFolder(t, good)
	if err := os.Remove(f.key); err != nil {
		t.Fatal(err)
	}
	if _, err := Files(t.Context(), f.cert, f.key, nil, Options{}); err == nil || !strings.Contains(err.Error(), f.key) {
		t.Errorf("no key: %v, want an error that names the file", err)
	}
}

func TestWeakFilesAreServedWithAWarning(t *testing.T) {
	at := &clock{start}
	ca := openCA(t, newGround(t), at.Now)
	for _, c := range []struct {
		name  string
		hosts []string
		mode  os.FileMode
		at    time.Time
		says  string // "": nothing
	}{
		{"fit", []string{"shop.example", "localhost", "127.0.0.1"}, 0o600, start, ""},
		{"readable by its group", []string{"shop.example"}, 0o640, start, ""},
		{"readable by all", []string{"shop.example"}, 0o644, start, "every user of this host"},
		{"host missing", []string{"shop.example", "partners.example"}, 0o600, start, "host=partners.example"},
		{"address missing", []string{"10.0.0.5"}, 0o600, start, "host=10.0.0.5"},
		{"expired", []string{"shop.example"}, 0o600, start.Add(7 * day), "has expired"},
		{"not valid yet", []string{"shop.example"}, 0o600, start.Add(-time.Hour), "not valid before its time"},
	} {
		f := newFolder(t, newBundle(t, ca, start, "shop.example"))
		if err := os.Chmod(f.key, c.mode); err != nil {
			t.Fatal(err)
		}
		var log lockedBuffer
		s, err := Files(t.Context(), f.cert, f.key, c.hosts, Options{Clock: func() time.Time { return c.at }, Log: logTo(&log)})
		if err != nil || s.Leaf() == nil {
			t.Errorf("%s: %v, want it served", c.name, err)
		}
		if got := log.String(); (c.says == "" && got != "") || !strings.Contains(got, c.says) {
			t.Errorf("%s: the log says %q, want %q", c.name, got, c.says)
		}
	}
}

// Files are taken when they change; a bad pair is told once and not taken.
func TestFilesAreReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca := openCA(t, newGround(t), time.Now)
		one, two := newBundle(t, ca, time.Now(), "shop.example"), newBundle(t, ca, time.Now(), "shop.example")
		f := newFolder(t, one)
		var log lockedBuffer
		s, err := Files(t.Context(), f.cert, f.key, nil, Options{Log: logTo(&log)})
		if err != nil {
			t.Fatal(err)
		}
		first := s.Leaf()
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { _ = s.Run(ctx) })
		pass := func() {
			time.Sleep(time.Minute)
			synctest.Wait()
		}
		complaints := func() int { return strings.Count(log.String(), "the one in use stays") }

		pass()
		if s.Leaf() != first || complaints() != 0 {
			t.Error("unchanged files were read again")
		}
		f.put(t, f.cert, two.cert) // half of the change
		pass()
		if s.Leaf() != first || complaints() != 1 {
			t.Errorf("half a pair: taken %v, %d complaints, want it refused and said once", s.Leaf() != first, complaints())
		}
		f.put(t, f.key, two.key)
		pass()
		second := s.Leaf()
		if second == first || complaints() != 1 {
			t.Errorf("whole pair: taken %v, %d complaints, want it taken", second != first, complaints())
		}
		if err := os.Remove(f.cert); err != nil {
			t.Fatal(err)
		}
		pass()
		if s.Leaf() != second || complaints() != 2 {
			t.Errorf("file gone: changed %v, %d complaints, want it kept and said once", s.Leaf() != second, complaints())
		}
		expired := newBundle(t, ca, time.Now().Add(-8*day), "shop.example")
		f.put(t, f.key, expired.key)
		f.put(t, f.cert, expired.cert)
		pass()
		if s.Leaf() != second || !strings.Contains(log.String(), "the one in use has not") {
			t.Errorf("expired pair: changed %v, want it refused: %s", s.Leaf() != second, log.String())
		}
		f.put(t, f.key, one.key)
		f.put(t, f.cert, one.cert)
		pass()
		if !s.Leaf().Equal(first) {
			t.Error("the mended pair was not taken")
		}
		said, third := complaints(), s.Leaf()
		coming := newBundle(t, ca, time.Now().Add(2*time.Hour), "shop.example")
		f.put(t, f.key, coming.key)
		f.put(t, f.cert, coming.cert)
		pass()
		if s.Leaf() != third || complaints() != said+1 {
			t.Errorf("pair of tomorrow: taken %v, %d complaints, want it put off and said once", s.Leaf() != third, complaints()-said)
		}
		time.Sleep(2 * time.Hour)
		pass()
		if s.Leaf() == third || complaints() != said+1 {
			t.Errorf("pair whose time has come: taken %v, %d complaints, want it taken", s.Leaf() != third, complaints()-said)
		}
		cancel()
		wg.Wait()
	})
}

// Reload is what SIGHUP calls: it reads at once and returns what is wrong.
func TestReloadOfFiles(t *testing.T) {
	ca := openCA(t, newGround(t), time.Now)
	f := newFolder(t, newBundle(t, ca, time.Now(), "shop.example"))
	s, err := Files(t.Context(), f.cert, f.key, nil, Options{})
	if err != nil {
		t.Fatal(err)
	}
	first := s.Leaf()
	two := newBundle(t, ca, time.Now(), "shop.example")
	f.put(t, f.cert, two.cert)
	if err := s.Reload(t.Context()); err == nil || s.Leaf() != first {
		t.Errorf("half a pair: %v, changed %v, want an error and the old", err, s.Leaf() != first)
	}
	f.put(t, f.key, two.key)
	if err := s.Reload(t.Context()); err != nil || s.Leaf() == first {
		t.Errorf("whole pair: %v, changed %v, want the new", err, s.Leaf() != first)
	}
}
