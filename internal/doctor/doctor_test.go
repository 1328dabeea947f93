package doctor

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"sallyport.dev/zone"
)

// TestNothingIsWrong is the good twin of every case of TestFaults: each check
// that names no fault says ok, by evidence.
func TestNothingIsWrong(t *testing.T) {
	for name, running := range map[string]bool{"stopped": false, "running": true} {
		t.Run(name, func(t *testing.T) {
			p := newPatient(t)
			if running {
				p.serves()
			}
			r := Examine(t.Context(), p.Config)
			if len(r.Findings) < 30 {
				t.Errorf("%d findings, want most of the checks", len(r.Findings))
			}
			seen := map[string]bool{}
			for _, f := range r.Findings {
				known := !running && f.Part == "zone" && f.Name == "ready" // it is not running
				known = known || running && f.Name == "listener public"    // the pipe of this test speaks no TLS
				if f.State != OK && !known || f.Found == "" || f.State != OK && f.Mend == "" || f.State == OK && f.Mend != "" {
					t.Errorf("%s/%s: %s, found %q, mend %q; want ok with evidence", f.Part, f.Name, f.State, f.Found, f.Mend)
				}
				if seen[f.Part+"/"+f.Name] {
					t.Errorf("%s/%s is there twice", f.Part, f.Name)
				}
				seen[f.Part+"/"+f.Name] = true
			}
		})
	}
}

// TestFaults plants one fault each.
func TestFaults(t *testing.T) {
	const group = "/sys/fs/cgroup/system.slice/sallyport.service/"
	for _, c := range []struct {
		check string
		plant func(p *patient)
		want  State
		found string // in what was found
		mend  string // in the mend
	}{
		{"host/kernel", func(p *patient) { p.pidfd = syscall.ENOSYS }, Fail, "no pidfd", "5.3"},
		{"host/kernel", func(p *patient) { p.pidfd = syscall.EPERM }, Fail, "refused", "sandbox"},
		{"host/kernel", func(p *patient) { p.Host.Kernel = nil }, Unknown, "no Linux", ""},
		{"host/open files", func(p *patient) { p.nofile = 1024 }, Fail, "1024 for a zone started from here", "LimitNOFILE=21792"},
		{"host/open files", func(p *patient) { p.nofile = 15000 }, Warn, "10000 connections", "LimitNOFILE"},
		{"host/open files", func(p *patient) { p.Zone.Listeners[0].Limits.Connections = 600_000 }, Warn, "600000 connections", "LimitNOFILE"},
		{"host/open files", func(p *patient) {
			p.serves()
			p.files["/proc/4711/limits"] = strings.ReplaceAll(p.files["/proc/4711/limits"], "1048576", "4096")
		}, Fail, "4096 for the running zone", "LimitNOFILE"},
		{"host/open files", func(p *patient) { p.serves(); delete(p.files, "/proc/4711/limits") }, Unknown, "cannot be told", ""},
		{"host/core dumps", func(p *patient) {
			p.files["/proc/sys/kernel/core_pattern"] = "|/usr/share/apport/apport -p%p -s%s"
		}, Warn, "/usr/share/apport/apport,", "core_pattern"},
		{"host/core dumps", func(p *patient) {
			p.serves()
			p.files["/proc/4711/limits"] = strings.Replace(p.files["/proc/4711/limits"], "size        0  ", "size        unlimited  ", 1)
		}, Fail, "may write its memory", "LimitCORE=0"},
		{"host/core dumps", func(p *patient) { delete(p.files, "/proc/sys/kernel/core_pattern") }, Unknown, "cannot be read", ""},
		{"disk/journal", func(p *patient) { p.Journal.Err = &fs.PathError{Op: "open", Path: "journal", Err: fs.ErrPermission} }, Unknown, "permission denied", "user of the zone"},
		{"disk/journal", func(p *patient) { p.Journal = Journal{} }, Unknown, "no record yet", ""},
		{"disk/journal", func(p *patient) { p.Zone = nil }, Unknown, "100 MiB", "name the map"},
		{"store/sqlite", func(p *patient) { p.Zone.Store.Postgres = nil; p.write("data/zone.db", "", 0o600) }, Fail, "is empty", "bring back a backup"},
		{"host/memory", func(p *patient) { p.files[group+"memory.max"] = "268435456\n" }, Fail, "256 MiB", "640 MiB"},
		{"host/memory", func(p *patient) { p.files[group+"memory.max"] = "402653184\n" }, Warn, "below the soft limit of 512", "GOMEMLIMIT=345MiB"},
		{"host/memory", func(p *patient) { p.files[group+"memory.max"] = "545259520\n" }, Warn, "less than a tenth", "GOMEMLIMIT"},
		{"host/memory", func(p *patient) { p.files["/sys/fs/cgroup/memory.max"] = "268435456\n" }, Fail, "cgroup", "MiB"},
		{"host/memory", func(p *patient) { p.Host.Getenv = func(string) string { return "16GiB" } }, Warn, "below GOMEMLIMIT of 16384", "GOMEMLIMIT="},
		{"host/memory", func(p *patient) { p.Host.Getenv = func(string) string { return "much" } }, Unknown, "no size", "512MiB"},
		{"host/memory", func(p *patient) { p.files = map[string]string{} }, Unknown, "neither", ""},
		{"host/memory", func(p *patient) { p.serves(); delete(p.files, "/proc/4711/environ") }, Unknown, "environment", ""},
		{"host/processors", func(p *patient) { p.files[group+"cpu.max"] = "50000 100000\n" }, Warn, "0.5", "CPUQuota"},
		{"host/processors", func(p *patient) {
			p.files[group+"cpu.max"] = "200000 100000\n"
			p.Host.Getenv = func(name string) string { return map[string]string{"GOMAXPROCS": "8"}[name] }
		}, Warn, "GOMAXPROCS is 8", "GOMAXPROCS away"},
		{"clock/synchronized", func(p *patient) { p.kernel.Synchronized = false }, Warn, "no source", "chrony"},
		{"clock/synchronized", func(p *patient) { p.Host.Clock = func() (KernelClock, error) { return KernelClock{}, syscall.ENOSYS } }, Unknown, "does not say", ""},
		{"clock/against what is kept", func(p *patient) { p.Journal.Newest = now.Add(time.Hour) }, Fail, "newest record of the journal is 1h0m0s later", "clock"},
		{"clock/against what is kept", func(p *patient) { p.Host.Now = func() time.Time { return now.Add(-30 * day) } }, Fail, "later", "clock"},
		{"clock/against what is kept", func(p *patient) { p.Journal = Journal{}; p.remove("data/ca.pem") }, Unknown, "nothing is kept yet", ""},
		{"disk/file system", func(p *patient) { p.disk.ReadOnly = true }, Fail, "read-only", "remount"},
		{"disk/file system", func(p *patient) { p.disk.Type = 0x6969 }, Fail, "NFS", "local disk"},
		{"disk/file system", func(p *patient) { p.disk.Type = 0x794c7630 }, Warn, "overlayfs", "volume"},
		{"disk/file system", func(p *patient) { p.Host.Disk = func(string) (Disk, error) { return Disk{}, syscall.EACCES } }, Unknown, "permission", ""},
		{"disk/free space", func(p *patient) { p.disk.Free = 10 << 20 }, Fail, "10 MiB", "journal"},
		{"disk/free space", func(p *patient) { p.disk.Free = 1 << 30 }, Warn, "924 MiB more", "journal"},
		{"disk/free space", func(p *patient) { p.Zone = nil }, Unknown, "in the map", "map"},
		{"disk/inodes", func(p *patient) { p.disk.Unused = 10 }, Fail, "10 are left", "small files"},
		{"disk/inodes", func(p *patient) { p.disk.Unused = 5000 }, Warn, "5000", "small files"},
		{"disk/parts", func(p *patient) { p.disks[p.path("data/journal")] = Disk{Device: 2, Type: 0x6969, Free: 1 << 40} }, Fail, "NFS", "local"},
		{"disk/parts", func(p *patient) { p.disks[p.path("data/journal")] = Disk{Device: 2, Free: 1 << 20} }, Fail, "of its own with 1 MiB", "room"},
		{"disk/parts", func(p *patient) { p.disks[p.path("data/spool")] = Disk{Device: 2, Free: 1 << 40, ReadOnly: true} }, Fail, "read-only", "remount"},
		{"disk/journal", func(p *patient) { p.Journal.Size = 1 << 30 }, Warn, "holds 5 d of records, and `retain` says 10 d", "size"},
		{"disk/journal", func(p *patient) { p.Journal = Journal{Err: errors.New("damaged")} }, Fail, "damaged", "copy"},
		{"data/data folder", func(p *patient) { p.chmod("data", 0o750) }, Fail, "mode 0750", "chmod 700"},
		{"data/data folder", func(p *patient) { p.chmod("", 0o777) }, Fail, "others may write", "chmod go-w"},
		{"data/data folder", func(p *patient) { p.Host.UID = 4242 }, Fail, "this is uid 4242", "chown"},
		{"data/data folder", func(p *patient) { p.Data = p.path("data.root") }, Fail, "no folder", "--data"},
		{"data/data folder", func(p *patient) { p.Data = p.path(strings.Repeat("long", 30)) }, Fail, "a socket takes at most", "shorter"},
		{"data/files", func(p *patient) { p.chmod("data/zone.db", 0o644) }, Fail, "zone.db has mode 0644", "chmod -R go-rwx"},
		{"data/files", func(p *patient) { p.chmod("data/ca.pem", 0o666) }, Fail, "ca.pem has mode 0666", "chmod 644"},
		{"data/lock", func(p *patient) { p.locked = true }, Fail, "does not answer", "see its log"},
		{"data/lock", func(p *patient) { p.Host.Locked = nil }, Unknown, "does not say", ""},
		{"data/root key", func(p *patient) { p.chmod("data.root", 0o644) }, Fail, "mode 0644", "chmod 600"},
		{"data/root key", func(p *patient) { p.remove("data.root") }, Fail, "cannot be opened", "backup"},
		{"data/root key", func(p *patient) { p.RootKey = p.path("data/root") }, Fail, "in the data folder", "--root-key"},
		{"data/root key", func(p *patient) { p.write("data.root", "", 0o600) }, Fail, "empty", "backup"},
		{"data/root key", func(p *patient) {
			p.remove("data.root")
			_ = os.Symlink(p.path("elsewhere"), p.path("data.root"))
		}, Fail, "no regular file", "itself"},
		{"data/run folder", func(p *patient) { p.chmod("run", 0o777) }, Fail, "mode 0777", "chmod go-w"},
		{"map/map", func(p *patient) { p.Zone = nil }, Unknown, "none was named", "sallyport doctor ZONE"},
		{"map/map", func(p *patient) {
			_, p.MapError = zone.Parse("zone.yaml", []byte("zone: shop.example\nservics: {}\n"))
			p.Zone = nil
		}, Fail, "zone.yaml:2:", "sallyport check"},
		{"map/map", func(p *patient) {
			p.Zone.Notices = []zone.Notice{{Effect: zone.StopsServe, Path: "policies", Text: "not there"}}
		}, Fail, "refuses it", "check"},
		{"map/map", func(p *patient) { p.Zone.Notices = []zone.Notice{{Effect: zone.RefusesRoute}} }, Warn, "503", "check"},
		{"map/in use", func(p *patient) { p.serves(); p.Running.Revision = "0123456789abcdef" }, Warn, "0123456789ab", "kill -HUP 4711"},
		{"map/in use", func(p *patient) { p.serves(); p.Running.Refused = "zone.yaml:3:1: wrong" }, Fail, "zone.yaml:3:1", "mend the map"},
		{"map/hosts", func(p *patient) { p.names = nil }, Warn, "shop.example", "DNS"},
		{"ports/listener public", func(p *patient) { p.listen = syscall.EACCES }, Fail, "privileged", "CAP_NET_BIND_SERVICE"},
		{"ports/listener public", func(p *patient) { p.listen = syscall.EADDRNOTAVAIL }, Fail, "does not have the address", "only the port"},
		{"ports/listener public", func(p *patient) { p.listen = syscall.EADDRINUSE }, Fail, "taken by a process of another user", "end that process"},
		{"ports/control", func(p *patient) { p.serves(); p.dead["127.0.0.1:8441"] = syscall.ECONNREFUSED }, Fail, "although the zone runs", "log"},
		{"ports/admin reach", func(p *patient) { p.Zone.Admin = "0.0.0.0:8440" }, Warn, "without a login", "127.0.0.1"},
		{"certificates/root", func(p *patient) { p.write("data/ca.pem", "nonsense", 0o644) }, Fail, "no certificate", "start the zone again"},
		{"certificates/root", func(p *patient) {
			p.write("data/ca.pem", certificate(p.t, nil, now.Add(-2*day), now.Add(-day)).cert, 0o644)
		}, Fail, "ended", "new zone"},
		{"certificates/root", func(p *patient) {
			p.write("data/ca.pem", certificate(p.t, nil, now.Add(-2*day), now.Add(30*day)).cert, 0o644)
		}, Warn, "30 d", "new zone"},
		{"certificates/root", func(p *patient) { p.remove("data/ca.pem") }, Warn, "not there", "start"},
		{"certificates/in use", func(p *patient) { p.serves(); p.Running.Ends[0].End = now.Add(-time.Hour) }, Fail, "identity of gateway ended", "log"},
		{"certificates/in use", func(p *patient) { p.serves(); p.Running.Ends[0].End = now.Add(5 * time.Minute) }, Warn, "5 min", "log"},
		{"certificates/in use", func(p *patient) { p.serves(); p.Running.Ends[0].Name = "root" }, Unknown, "does not say", ""},
		{"services/catalog", func(p *patient) { p.dead["127.0.0.1:9001"] = syscall.ECONNREFUSED }, Warn, "127.0.0.1:9001 (refused)", "start it"},
		{"services/catalog", func(p *patient) { p.serves(); p.dead["127.0.0.1:9001"] = syscall.ECONNREFUSED }, Fail, "none of 1", "start it"},
		{"services/orders", func(p *patient) { p.serves(); p.dead["/run/orders.sock"] = os.ErrNotExist }, Warn, "no such socket", "sallyport sidecar ZONE orders"},
		{"services/orders", func(p *patient) { p.dead["127.0.0.1:9502"] = context.DeadlineExceeded }, Warn, "no answer in 1s", "sidecar"},
		{"zone/ready", func(p *patient) { p.serves(); p.Running.Ready, p.Running.Waiting = false, []string{"store"} }, Fail, "store", "log"},
		{"zone/ready", func(p *patient) { p.RunningErr = errors.New("no answer in 5 s") }, Fail, "no answer", "log"},
		{"zone/instances", func(p *patient) { p.serves(); p.Running.Services[0].Healthy = 0 }, Fail, "catalog", "status"},
		{"zone/instances", func(p *patient) { p.serves(); p.Running.Services[1].Healthy = 1 }, Warn, "orders", "status"},
	} {
		t.Run(c.check+" "+c.found, func(t *testing.T) {
			p := newPatient(t)
			c.plant(p)
			part, name, _ := strings.Cut(c.check, "/")
			f := p.examine(part, name)
			if f.State != c.want || !strings.Contains(f.Found, c.found) || !strings.Contains(f.Mend, c.mend) {
				t.Errorf("got %s, found %q, mend %q; want %s with %q and %q", f.State, f.Found, f.Mend, c.want, c.found, c.mend)
			}
		})
	}
}

// TestTimeIsOver: what was not looked at is unknown, never ok.
func TestTimeIsOver(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r := Examine(ctx, newPatient(t).Config)
	if r.OK != 0 || r.Unknown != len(r.Findings) || r.Unknown == 0 {
		t.Errorf("%d ok and %d unknown of %d; want all unknown", r.OK, r.Unknown, len(r.Findings))
	}
}

// TestNothingIsKnown: a host that tells nothing is nowhere ok about the host.
func TestNothingIsKnown(t *testing.T) {
	p := newPatient(t)
	p.Host = Host{UID: os.Geteuid(), Now: p.Host.Now}
	p.Engines = Engines{}
	for _, f := range Examine(t.Context(), p.Config).Findings {
		switch f.Part {
		case "host", "disk", "services":
			if f.State == OK && f.Name != "journal" {
				t.Errorf("%s/%s: ok without evidence: %s", f.Part, f.Name, f.Found)
			}
		}
	}
}

// TestNoSecret: neither the URLs of the engines nor the zone's environment are shown.
func TestNoSecret(t *testing.T) {
	p := newPatient(t)
	p.serves()
	p.dead["postgres"] = errors.New("cannot connect to postgres://zone:geheim@db.example/zone?sslmode=verify-full as zone with geheim")
	p.dead["valkey"] = errors.New("AUTH geheim failed")
	b, err := json.Marshal(Examine(t.Context(), p.Config))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(b), "***") {
		t.Errorf("positive control: the errors of the engines should be shown without the secret:\n%s", b)
	}
	if strings.Contains(string(b), "geheim") {
		t.Errorf("a secret is shown:\n%s", b)
	}
	if !strings.Contains(string(b), `"state":"fail"`) || !strings.Contains(string(b), `"state":"ok"`) {
		t.Errorf("states are not told by name:\n%s", b)
	}
}
