package workload

import (
	"errors"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

var testDomain = spiffeid.RequireTrustDomainFromString(testZone)

// file is an executable that some process runs.
type file string

func (f file) Stat() (os.FileInfo, error) { return os.Stat(string(f)) }

func TestMatch(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	orders, other, link := filepath.Join(dir, "orders"), filepath.Join(dir, "other"), filepath.Join(dir, "link")
	for _, f := range []string{orders, other} {
		if err := os.WriteFile(f, []byte(f), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(orders, link); err != nil {
		t.Fatal(err)
	}
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	group, err := user.LookupGroupId(me.Gid)
	if err != nil {
		t.Fatal(err)
	}
	uid64, err := strconv.ParseUint(me.Uid, 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	gid64, err := strconv.ParseUint(me.Gid, 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	uid, gid := uint32(uid64), uint32(gid64)
	looks := newLooks()
	running := facts{pid: 7, uid: uid, gid: 4000, groups: []uint32{5000, gid}, path: orders, executable: file(orders), looks: looks}
	with := func(change func(*facts)) facts { f := running; change(&f); return f }

	for _, c := range []struct {
		name      string
		selectors map[string][]string
		facts     facts
		differs   string // empty: fits
	}{
		{"none: own uid", nil, running, ""},
		{"none: another uid", nil, with(func(f *facts) { f.uid++ }), "uid is " + strconv.Itoa(int(uid)+1) + ", wants " + me.Uid},
		{"empty: another uid", map[string][]string{}, with(func(f *facts) { f.uid++ }), "uid is"},
		{"uid by number", map[string][]string{"uid": {me.Uid}}, running, ""},
		{"uid by name", map[string][]string{"uid": {me.Username}}, running, ""},
		{"uid, second value", map[string][]string{"uid": {"4711", me.Username}}, running, ""},
		{"uid, neither value", map[string][]string{"uid": {"4711", "4712"}}, running, "uid is " + me.Uid + ", wants 4711 or 4712"},
		{"uid of nobody", map[string][]string{"uid": {"no-such-user-here"}}, running, "wants no-such-user-here"},
		{"uid -1", map[string][]string{"uid": {"4294967295"}}, with(func(f *facts) { f.uid = noID }), "wants 4294967295"},
		{"uid too large", map[string][]string{"uid": {"4294967296"}}, with(func(f *facts) { f.uid = 0 }), "wants 4294967296"},
		{"gid", map[string][]string{"gid": {"4000"}}, running, ""},
		{"gid, supplementary, by name", map[string][]string{"gid": {group.Name}}, running, ""},
		{"gid, another", map[string][]string{"gid": {"4001"}}, running, "gid is 4000 (5000 " + me.Gid + "), wants 4001"},
		{"uid is no gid", map[string][]string{"gid": {"4711"}}, with(func(f *facts) { f.uid = 4711 }), "gid is"},
		{"path", map[string][]string{"path": {orders}}, running, ""},
		{"path by a link", map[string][]string{"path": {link}}, running, ""},
		{"path, second value", map[string][]string{"path": {other, orders}}, running, ""},
		{"path, another", map[string][]string{"path": {other}}, running, "path is " + orders + ", wants " + other},
		{"path that is not there", map[string][]string{"path": {dir + "/none"}}, with(func(f *facts) { f.path = dir + "/none" }), "path is"},
		{"path, deleted", map[string][]string{"path": {orders}}, with(func(f *facts) { f.path += " (deleted)" }), "(deleted), wants"},
		{"path, another file of that path", map[string][]string{"path": {orders}}, with(func(f *facts) { f.executable = file(other) }), "another inode"},
		{"path, unknown", map[string][]string{"path": {orders}}, with(func(f *facts) { f.path, f.noPath = "", "permission denied" }), "path is unknown (permission denied)"},
		{"path, file unknown", map[string][]string{"path": {orders}}, with(func(f *facts) { f.executable = nil }), "the file is unknown"},
		{"path, relative", map[string][]string{"path": {"orders"}}, with(func(f *facts) { f.path = "orders" }), "path is orders"},
		{"path, folder", map[string][]string{"path": {dir}}, running, "path is"},
		{"all hold", map[string][]string{"uid": {me.Uid}, "gid": {"5000"}, "path": {orders}}, running, ""},
		{"one does not: the first difference", map[string][]string{"path": {other}, "gid": {"1"}, "uid": {me.Uid}}, running, "gid is"},
		{"sha256", map[string][]string{"sha256": {strings.Repeat("a", 64)}}, running, "sha256 is not attested by this version"},
		{"unit beside uid", map[string][]string{"uid": {me.Uid}, "unit": {"orders.service"}}, running, "unit is not attested"},
		{"cgroup beside uid", map[string][]string{"uid": {me.Uid}, "cgroup": {"/orders"}}, running, "cgroup is not attested"},
	} {
		t.Run(c.name, func(t *testing.T) {
			rules, err := compile([]Entry{{"orders", c.selectors}}, testDomain, uid)
			if err != nil {
				t.Fatal(err)
			}
			names, near := match(rules, c.facts)
			if fits := slices.Equal(names, []string{"orders"}); fits != (c.differs == "") {
				t.Errorf("%v: fits %v, nearest %v, want fits %v", c.selectors, names, near, c.differs == "")
			}
			if !strings.Contains(near.difference, c.differs) {
				t.Errorf("%v: %q differs, want %q", c.selectors, near.difference, c.differs)
			}
		})
	}
}

func TestMatchTakesAllInOrder(t *testing.T) {
	rules, err := compile([]Entry{
		{"zebra", nil},
		{"none", map[string][]string{"uid": {"2"}, "gid": {"9"}}},
		{"near", map[string][]string{"uid": {"1"}, "gid": {"9"}}},
		{"ape", map[string][]string{"uid": {"1"}}},
	}, testDomain, 1)
	if err != nil {
		t.Fatal(err)
	}
	names, near := match(rules, facts{uid: 1, gid: 1})
	if want := []string{"zebra", "ape"}; !slices.Equal(names, want) {
		t.Errorf("fits %v, want %v", names, want)
	}
	if near.service != "near" || near.difference != "gid is 1, wants 9" {
		t.Errorf("nearest %+v, want near and its gid", near)
	}
	if names, near := match(nil, facts{}); names != nil || near.service != "" {
		t.Errorf("no entries: %v, %v, want nothing", names, near)
	}
}

func TestCompileRefuses(t *testing.T) {
	for _, c := range []struct {
		name    string
		entries []Entry
		want    string // empty: accepted
	}{
		{"nothing", nil, ""},
		{"a service", []Entry{{"orders", nil}}, ""},
		{"gateway", []Entry{{"gateway", nil}}, "the zone's own"},
		{"control", []Entry{{"control", nil}}, "the zone's own"},
		{"twice", []Entry{{"orders", nil}, {"orders", nil}}, "twice"},
		{"no name", []Entry{{"", nil}}, `service ""`},
		{"a path", []Entry{{"a/b", nil}}, `service "a/b"`},
		{"dots", []Entry{{"..", nil}}, `service ".."`},
		{"unknown selector", []Entry{{"orders", map[string][]string{"pid": {"1"}}}}, `selector "pid" is unknown`},
		{"no value", []Entry{{"orders", map[string][]string{"uid": nil}}}, `selector "uid" has no value`},
	} {
		_, err := compile(c.entries, testDomain, 0)
		if got := errText(err); (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestEntriesThatFitNobodyAreLogged(t *testing.T) {
	var log logText
	s, err := New(Config{Zone: testZone, Issuer: newAuthority(t, time.Hour), Log: log.logger(), Entries: []Entry{
		{"a", map[string][]string{"sha256": {"00"}}}, {"b", map[string][]string{"uid": {"no-such-user-here"}}}, {"c", map[string][]string{"path": {"bin/c"}}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	wantText(t, log.String(), "service=a selector=sha256", "does not attest", "service=b selector=uid", "service=c selector=path", "not an absolute path")
	if err := s.SetEntries([]Entry{{"gateway", nil}}); err == nil {
		t.Error("entries with the gateway's name are taken")
	}
	if rules, _ := s.current(); len(rules) != 3 {
		t.Errorf("%d rules after refused entries, want the old 3", len(rules))
	}
}

func TestNewRefuses(t *testing.T) {
	good := Config{Zone: testZone, Issuer: newAuthority(t, time.Hour)}
	if _, err := New(good); err != nil {
		t.Fatalf("positive control: %v", err)
	}
	for name, change := range map[string]func(*Config){
		"no zone":      func(c *Config) { c.Zone = "" },
		"zone as ID":   func(c *Config) { c.Zone = "spiffe://" + testZone },
		"zone in caps": func(c *Config) { c.Zone = "Shop.example" },
		"no issuer":    func(c *Config) { c.Issuer = nil },
		"no uid":       func(c *Config) { c.UID = -1 },
		"bad entries":  func(c *Config) { c.Entries = []Entry{{"control", nil}} },
	} {
		c := good
		change(&c)
		if _, err := New(c); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// stuck is a file on a file system that does not answer.
type stuck chan struct{}

func (s stuck) Stat() (os.FileInfo, error) { <-s; return nil, errors.New("unmounted") }

func TestFileSystemsThatDoNotAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		never := make(stuck)
		f := facts{executable: never, looks: make(looks, 1)}
		if err := f.runs("/"); !strings.Contains(errText(err), "does not answer") {
			t.Errorf("the first: %v, want that it does not answer", err)
		}
		if err := f.runs("/"); !strings.Contains(errText(err), "too many") {
			t.Errorf("the second: %v, want no place", err)
		}
		close(never)
		synctest.Wait()
		if err := f.runs("/"); !strings.Contains(errText(err), "unmounted") {
			t.Errorf("the third: %v, want its place back", err)
		}
	})
}

func TestDenialsAreBounded(t *testing.T) {
	now := time.Unix(1000, 0)
	var log logText
	d := denials{clock: func() time.Time { return now }}
	for range denialsPerSecond + 5 {
		d.warn(log.logger(), "refused")
	}
	if got := strings.Count(log.String(), "refused"); got != denialsPerSecond {
		t.Errorf("%d lines in a second, want %d", got, denialsPerSecond)
	}
	now = now.Add(time.Second)
	d.warn(log.logger(), "refused")
	wantText(t, log.String(), "left_out=5")
}

func TestPartOfALife(t *testing.T) {
	for range 1000 {
		if p := part(time.Hour); p < 24*time.Minute || p > 30*time.Minute {
			t.Fatalf("%s of an hour, want 24 to 30 minutes", p)
		}
	}
}
