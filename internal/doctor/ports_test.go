package doctor

import (
	"crypto/tls"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"sallyport.dev/zone"
)

// door serves TLS handshakes with a certificate until the test ends.
func door(t *testing.T, c tls.Certificate) string {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{c}, MinVersion: tls.VersionTLS13})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_ = c.(*tls.Conn).Handshake()
			_ = c.Close()
		}
	}()
	return l.Addr().String()
}

// TestListenerOfARunningZone: its certificate is looked at on the wire.
func TestListenerOfARunningZone(t *testing.T) {
	hosts := []string{"shop.example", "localhost"}
	for _, c := range []struct {
		name  string
		make  func(t *testing.T, root pair) tls.Certificate
		files bool // the map says that the certificate is in files
		want  State
		found string
	}{
		{"good", func(t *testing.T, root pair) tls.Certificate {
			return certificate(t, &root, now.Add(-time.Hour), now.Add(day), hosts...).tls
		}, false, OK, "names all hosts"},
		{"another host", func(t *testing.T, root pair) tls.Certificate {
			return certificate(t, &root, now.Add(-time.Hour), now.Add(day), "localhost").tls
		}, false, Fail, "shop.example"},
		{"ended", func(t *testing.T, root pair) tls.Certificate {
			return certificate(t, &root, now.Add(-2*day), now.Add(-day), hosts...).tls
		}, false, Fail, "expired"},
		{"another root", func(t *testing.T, _ pair) tls.Certificate {
			other := certificate(t, nil, now.Add(-day), now.Add(day))
			return certificate(t, &other, now.Add(-time.Hour), now.Add(day), hosts...).tls
		}, false, Fail, "not of this zone's root"},
		{"files of an unknown authority", func(t *testing.T, root pair) tls.Certificate {
			return certificate(t, &root, now.Add(-time.Hour), now.Add(day), hosts...).tls
		}, true, Warn, "does not know"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPatient(t)
			p.serves()
			root := certificate(t, nil, now.Add(-3*day), now.Add(5*365*day))
			p.write("data/ca.pem", root.cert, 0o644)
			p.Running.Listeners = map[string]string{"public": door(t, c.make(t, root))}
			p.Host.Dial, p.Host.DialTime = (&net.Dialer{}).DialContext, time.Minute
			if c.files {
				p.Zone.Listeners[0].Certificate.Kind = zone.CertificateFiles
			}
			if f := p.examine("ports", "listener public"); f.State != c.want || !strings.Contains(f.Found, c.found) {
				t.Errorf("got %s, %q; want %s with %q", f.State, f.Found, c.want, c.found)
			}
		})
	}
}

// TestFilesOfAListener looks at a pair of files.
func TestFilesOfAListener(t *testing.T) {
	root := certificate(t, nil, now.Add(-3*day), now.Add(5*365*day))
	hosts := []string{"shop.example"}
	good := certificate(t, &root, now.Add(-day), now.Add(60*day), hosts...)
	for _, c := range []struct {
		name    string
		c       pair
		key     string
		mode    os.FileMode
		want    State
		mention string
	}{
		{"good", good, good.key, 0o600, OK, "names the listener's hosts"},
		{"the key of another", good, certificate(t, &root, now, now.Add(day)).key, 0o600, Fail, "private key"},
		{"a key for all to read", good, good.key, 0o644, Fail, "mode 0644"},
		{"another host", certificate(t, &root, now.Add(-day), now.Add(60*day), "other.example"), "", 0o600, Fail, "does not name the host shop.example"},
		{"ended", certificate(t, &root, now.Add(-9*day), now.Add(-3*day), hosts...), "", 0o600, Fail, "ended 3 d ago"},
		{"ends soon", certificate(t, &root, now.Add(-9*day), now.Add(3*day), hosts...), "", 0o600, Warn, "ends in 3 d"},
		{"not yet", certificate(t, &root, now.Add(day), now.Add(60*day), hosts...), "", 0o600, Fail, "begins at"},
		{"none", pair{cert: "nonsense"}, "nonsense", 0o600, Fail, "listener.pem"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPatient(t)
			if c.key == "" {
				c.key = c.c.key
			}
			p.write("listener.pem", c.c.cert, 0o644)
			p.write("listener.key", c.key, c.mode)
			p.Zone.Listeners[0].Certificate = zone.Certificate{Kind: zone.CertificateFiles, Cert: p.path("listener.pem"), Key: p.path("listener.key")}
			if f := p.examine("certificates", "certificate of public"); f.State != c.want || !strings.Contains(f.Found, c.mention) {
				t.Errorf("got %s, %q; want %s with %q", f.State, f.Found, c.want, c.mention)
			}
		})
	}
	for name, c := range map[string]struct {
		text string
		want State
	}{
		"good": {root.cert, OK}, "ended": {certificate(t, nil, now.Add(-2*day), now.Add(-day)).cert, Fail},
		"one of two": {certificate(t, nil, now.Add(-2*day), now.Add(-day)).cert + root.cert, Warn}, "none": {"nonsense", Fail},
		"no authority": {root.cert + certificate(t, &root, now.Add(-day), now.Add(60*day), hosts...).cert, Fail}, "with a key": {root.cert + root.key, Fail},
	} {
		p := newPatient(t)
		p.write("clients.pem", c.text, 0o644)
		p.Zone.Listeners[0].ClientCA = p.path("clients.pem")
		if f := p.examine("certificates", "client CA of public"); f.State != c.want {
			t.Errorf("client CA, %s: got %s, %q; want %s", name, f.State, f.Found, c.want)
		}
	}
}

// TestWhoListens finds the process of a taken port: this one.
func TestWhoListens(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	p := newPatient(t)
	p.Host = ThisHost()
	p.Host.Now = func() time.Time { return now }
	if _, err := p.Host.ReadFile("/proc/net/tcp"); err != nil {
		t.Skip("there is no /proc/net/tcp here")
	}
	p.Zone.Listeners[0].Address = l.Addr().String()
	f := p.examine("ports", "listener public")
	if want := "pid " + strconv.Itoa(os.Getpid()); f.State != Fail || !strings.Contains(f.Found, want) {
		t.Errorf("got %s, %q; want fail with %q", f.State, f.Found, want)
	}
	_ = l.Close()
	if f := p.examine("ports", "listener public"); f.State != OK {
		t.Errorf("afterwards: %s, %q; want ok", f.State, f.Found)
	}
}

func TestParseSocket(t *testing.T) {
	const v4 = "   0: 0100007F:20FB 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 54321 1 0000000000000000 100 0 0 10 0"
	const v6 = "   1: 00000000000000000000000000000000:01BB 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 777 1 0"
	for _, c := range []struct {
		line, address string
		want          bool
	}{
		{v4, "127.0.0.1:8443", true}, {v4, ":8443", true}, {v4, "localhost:8443", true}, {v4, "0.0.0.0:8443", true},
		{v4, "127.0.0.2:8443", false}, {v4, "127.0.0.1:8444", false},
		{v6, "127.0.0.1:443", true}, {v6, "[::1]:443", true}, {v6, ":444", false},
		{strings.Replace(v4, " 0A ", " 01 ", 1), "127.0.0.1:8443", false}, // a connection
	} {
		s, ok := parseSocket(c.line)
		if got := ok && s.takes(c.address); got != c.want {
			t.Errorf("%s for %s: got %t, want %t", c.line[:40], c.address, got, c.want)
		}
	}
	if s, _ := parseSocket(v4); s.uid != 1000 || s.inode != "54321" {
		t.Errorf("got %+v, want uid 1000 and inode 54321", s)
	}
}

func FuzzParseSocket(f *testing.F) {
	f.Add("   0: 0100007F:20FB 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 54321 1")
	f.Add("  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode")
	f.Add("")
	f.Fuzz(func(t *testing.T, line string) {
		if s, ok := parseSocket(line); ok && !s.at.IsValid() {
			t.Errorf("%q: %+v", line, s)
		}
	})
}

// TestPrivileged: root cannot tell for a zone that runs as another user.
func TestPrivileged(t *testing.T) {
	p := newPatient(t)
	for address, want := range map[string]bool{":443": true, "0.0.0.0:80": true, ":8443": false, ":0": false, ":x": false} {
		if got := p.privileged2(address); got != want {
			t.Errorf("%s: got %t, want %t", address, got, want)
		}
	}
	p.files["/proc/sys/net/ipv4/ip_unprivileged_port_start"] = "80\n"
	if p.privileged2(":443") {
		t.Error("443 is privileged although the kernel says that 80 and above are not")
	}
}

func (p *patient) privileged2(address string) bool {
	return (&examination{Config: p.Config}).privileged(address)
}

// TestSocketsAndLocks uses real ones: of a living process, and of a dead one.
func TestSocketsAndLocks(t *testing.T) {
	dir, err := os.MkdirTemp("", "doctor") // short enough for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	p := newPatient(t)
	p.Data = dir
	p.Host.Dial, p.Host.DialTime = (&net.Dialer{}).DialContext, time.Minute
	path := filepath.Join(dir, adminName)
	finding := func() Finding {
		e := &examination{Config: p.Config}
		e.leftOver(t.Context(), path)
		if len(e.findings) == 0 {
			return Finding{}
		}
		return e.findings[0]
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	if f := finding(); f.Name != "" {
		t.Errorf("a living socket: %+v, want nothing", f)
	}
	l.SetUnlinkOnClose(false)
	_ = l.Close()
	if f := finding(); f.State != Warn || !strings.Contains(f.Found, "killed") {
		t.Errorf("a dead socket: %+v, want a warning", f)
	}
	_ = os.Remove(path)
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if f := finding(); f.State != Fail || !strings.Contains(f.Found, "no socket") {
		t.Errorf("a file: %+v, want a failure", f)
	}

	lock := filepath.Join(dir, lockName)
	held, err := os.OpenFile(lock, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	h := ThisHost()
	if h.Locked == nil {
		t.Skip("locks cannot be looked at on this system")
	}
	if got, err := h.Locked(lock); got || err != nil {
		t.Errorf("free: %t, %v", got, err)
	}
	if err := syscall.Flock(int(held.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		t.Fatal(err)
	}
	if got, err := h.Locked(lock); !got || err != nil {
		t.Errorf("held: %t, %v", got, err)
	}
	p.Host.ReadFile = h.ReadFile
	if pid := (&examination{Config: p.Config}).holder(lock); pid != os.Getpid() && pid != 0 { // 0: /proc/locks shows no process of other namespaces
		t.Errorf("holder: %d, want %d", pid, os.Getpid())
	}
	_ = held.Close()
	if got, err := h.Locked(lock); got || err != nil {
		t.Errorf("free again: %t, %v", got, err)
	}
}

// TestThisHost: every function of the real host answers or says why not.
func TestThisHost(t *testing.T) {
	h := ThisHost()
	if h.Kernel == nil {
		t.Skip("only Linux tells")
	}
	if release, err := h.Kernel(); release == "" || err != nil {
		t.Errorf("kernel: %q, %v", release, err)
	}
	if n, err := h.OpenFiles(); n == 0 || err != nil {
		t.Errorf("open files: %d, %v", n, err)
	}
	d, err := h.Disk(t.TempDir())
	if err != nil || d.Size == 0 || d.Free == 0 || d.Type == 0 {
		t.Errorf("disk: %+v, %v", d, err)
	}
	if _, err := h.Disk(filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("disk of nothing: %v", err)
	}
	if c, err := h.Clock(); err == nil && c.MaxError < 0 {
		t.Errorf("clock: %+v", c)
	}
	if r := Examine(t.Context(), Config{Data: filepath.Join(t.TempDir(), "none"), Host: h, Engines: RealEngines(), MemoryLimit: 512 << 20}); len(r.Findings) < 12 {
		t.Errorf("%d findings on a bare host, want more: %+v", len(r.Findings), r.Findings)
	}
}
