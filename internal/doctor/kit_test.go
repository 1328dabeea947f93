package doctor

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"io/fs"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"sallyport.dev/zone"
)

const testMap = `
zone: shop.example
journal: {size: 1GiB, retain: 10d}
listeners:
  public: {address: "127.0.0.1:8443", hosts: [shop.example, localhost]}
services:
  catalog:
    upstream: https://127.0.0.1:9001
    embedded: true
    routes: {GET /products: anonymous}
  orders:
    upstream: unix:/run/orders.sock
    sidecar: 127.0.0.1:9502
    routes: {GET /orders: user}
store: {postgres: {file: pg.url}, valkey: {file: valkey.url}}
identity: {listener: public, mail: {smtp: {file: smtp.url}, from: no-reply@shop.example}}
`

var now = time.Date(2026, 11, 22, 13, 0, 0, 0, time.UTC)

// patient is a host and a zone of which nothing is wrong.
type patient struct {
	Config
	t        *testing.T
	dir      string
	files    map[string]string // of /proc and /sys
	dead     map[string]error  // addresses that take no connection
	kernel   KernelClock
	disks    map[string]Disk // by path; the rest have disk
	disk     Disk
	nofile   uint64
	pidfd    error
	locked   bool
	listen   error
	names    []netip.Addr
	postgres Postgres
	valkey   Valkey
	sqlite   SQLite
	smtp     SMTP
}

type closed struct{}

func (closed) Close() error { return nil }

func newPatient(t *testing.T) *patient {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	z, err := zone.Parse(filepath.Join(dir, "zone.yaml"), []byte(testMap))
	if err != nil {
		t.Fatal(err)
	}
	z.Notices = nil // of what this version does not enforce
	z.Store.Postgres.File, z.Store.Valkey.File = filepath.Join(dir, "pg.url"), filepath.Join(dir, "valkey.url")
	z.Identity.Mail.SMTP.File = filepath.Join(dir, "smtp.url")
	p := &patient{
		t: t, dir: dir, dead: map[string]error{}, disks: map[string]Disk{}, nofile: 1 << 20,
		kernel: KernelClock{Synchronized: true, MaxError: 3 * time.Millisecond},
		disk:   Disk{Device: 1, Type: 0xef53, Size: 100 << 30, Free: 50 << 30, Inodes: 1 << 20, Unused: 1 << 19},
		names:  []netip.Addr{netip.MustParseAddr("127.0.0.1")},
		files: map[string]string{
			"/proc/sys/kernel/core_pattern": "core\n",
			"/proc/meminfo":                 "MemTotal:        8000000 kB\nMemFree: 1 kB\n",
			"/proc/self/cgroup":             "0::/system.slice/sallyport.service\n",
			"/sys/fs/cgroup/system.slice/sallyport.service/memory.max": "max\n",
			"/sys/fs/cgroup/system.slice/sallyport.service/cpu.max":    "max 100000\n",
		},
		postgres: Postgres{Version: 160004, TLS: true, MayCreate: true, Fsync: "on", Sync: "on", Encoding: "UTF8", Connections: 10, Most: 100},
		valkey:   Valkey{Name: "Valkey", Version: "8.0.1", Policy: "noeviction", Most: 1 << 30, Used: 1 << 20, Role: "master", Kept: true},
		sqlite:   SQLite{WAL: true, Tables: 12},
		smtp:     SMTP{At: "mail.example:587", TLS: "TLS 1.3", Proved: true},
	}
	data := filepath.Join(dir, "data")
	for _, d := range []string{data, filepath.Join(data, "journal"), filepath.Join(data, "spool"), filepath.Join(dir, "run")} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	p.write("data/zone.db", "not empty", 0o600)
	p.write("data/lock", "", 0o600)
	p.write("data.root", "a key", 0o600)
	p.write("pg.url", "postgres://zone:geheim@db.example/zone?sslmode=verify-full\n", 0o600)
	p.write("valkey.url", "rediss://:geheim@kv.example:6379\n", 0o600)
	p.write("smtp.url", "smtp+starttls://zone:geheim@mail.example:587\n", 0o600)
	p.write("data/ca.pem", certificate(t, nil, now.Add(-day), now.Add(5*365*day)).cert, 0o644)
	p.Config = Config{
		Zone: z, Data: data, Run: filepath.Join(dir, "run"), MemoryLimit: 512 << 20,
		Journal: Journal{Size: 100 << 20, Oldest: now.Add(-5 * day), Newest: now.Add(-time.Minute)},
		Engines: Engines{
			SQLite:   func(context.Context, string, bool) (SQLite, error) { return p.sqlite, nil },
			Postgres: func(context.Context, string) (Postgres, error) { return p.postgres, p.dead["postgres"] },
			Valkey:   func(context.Context, string) (Valkey, error) { return p.valkey, p.dead["valkey"] },
			SMTP:     func(context.Context, string, string) (SMTP, error) { return p.smtp, p.dead["smtp"] },
		},
	}
	p.Host = p.host()
	return p
}

func (p *patient) host() Host {
	return Host{
		UID: os.Geteuid(), Now: func() time.Time { return now }, Getenv: func(string) string { return "" }, CPUs: func() int { return 8 },
		ReadFile: func(path string) ([]byte, error) {
			text, ok := p.files[path]
			if !ok {
				return nil, fs.ErrNotExist
			}
			return []byte(text), nil
		},
		ReadDir:   func(string) ([]string, error) { return nil, fs.ErrNotExist },
		Readlink:  func(string) (string, error) { return "", fs.ErrNotExist },
		Kernel:    func() (string, error) { return "6.12.0", nil },
		Pidfd:     func() error { return p.pidfd },
		OpenFiles: func() (uint64, error) { return p.nofile, nil },
		Clock:     func() (KernelClock, error) { return p.kernel, nil },
		Disk: func(path string) (Disk, error) {
			if d, ok := p.disks[path]; ok {
				return d, nil
			}
			return p.disk, nil
		},
		Locked: func(string) (bool, error) { return p.locked, nil },
		Listen: func(context.Context, string) (io.Closer, error) { return closed{}, p.listen },
		Dial: func(_ context.Context, _, address string) (net.Conn, error) {
			if err := p.dead[address]; err != nil {
				return nil, err
			}
			near, far := net.Pipe()
			_ = far.Close()
			return near, nil
		},
		Resolve: func(context.Context, string) ([]netip.Addr, error) { return p.names, nil },
	}
}

// serves has the patient run, as pid 4711.
func (p *patient) serves() {
	p.Running = &Running{
		PID: 4711, Ready: true, Revision: p.Zone.Revision, Ends: []Lifetime{{"identity of gateway", now.Add(50 * time.Minute)}},
		Services: []Service{{"catalog", 1, 1}, {"orders", 2, 2}}, Mail: &Outbox{Limit: 100},
	}
	p.files["/proc/4711/limits"] = "Limit                     Soft Limit           Hard Limit           Units\nMax core file size        0                    0                    bytes\nMax open files            1048576              1048576              files\n"
	p.files["/proc/4711/environ"] = "HOME=/root\x00SECRET=geheim\x00"
	p.files["/proc/4711/cgroup"] = p.files["/proc/self/cgroup"]
}

func (p *patient) path(name string) string { return filepath.Join(p.dir, name) }

func (p *patient) write(name, text string, mode fs.FileMode) {
	p.t.Helper()
	if err := os.WriteFile(p.path(name), []byte(text), mode); err != nil {
		p.t.Fatal(err)
	}
	p.chmod(name, mode)
}

func (p *patient) chmod(name string, mode fs.FileMode) {
	p.t.Helper()
	if err := os.Chmod(p.path(name), mode); err != nil {
		p.t.Fatal(err)
	}
}

func (p *patient) remove(name string) {
	p.t.Helper()
	if err := os.RemoveAll(p.path(name)); err != nil {
		p.t.Fatal(err)
	}
}

// examine returns the finding of a part by name.
func (p *patient) examine(part, name string) Finding {
	p.t.Helper()
	for _, f := range Examine(p.t.Context(), p.Config).Findings {
		if f.Part == part && f.Name == name {
			return f
		}
	}
	p.t.Fatalf("no finding %s/%s", part, name)
	return Finding{}
}

// pair is a certificate with its key, in PEM.
type pair struct {
	cert, key string
	tls       tls.Certificate
	leaf      *x509.Certificate
	signer    *ecdsa.PrivateKey
}

// certificate makes an authority, or with one a certificate of it.
func certificate(t *testing.T, by *pair, from, to time.Time, hosts ...string) pair {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: from, NotAfter: to, DNSNames: hosts,
		BasicConstraintsValid: true, IsCA: by == nil, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	parent, signer := c, key
	if by != nil {
		parent, signer = by.leaf, by.signer
		c.Subject.CommonName = "leaf"
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pair{
		cert: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		key:  string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})),
		tls:  tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, leaf: leaf, signer: key,
	}
}
