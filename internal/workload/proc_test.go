package workload

import (
	"slices"
	"strings"
	"testing"
)

const someStatus = "Name:\tcat\nUmask:\t0022\nState:\tS (sleeping)\nPid:\t42\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\nFDSize:\t64\nGroups:\t9 10 \n"

func TestParseStatus(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       procStatus
		ok         bool
	}{
		{"plain", someStatus, procStatus{2, 6, []uint32{9, 10}}, true},
		{"no groups", strings.Replace(someStatus, "9 10 ", " ", 1), procStatus{2, 6, nil}, true},
		{"name like a field", strings.Replace(someStatus, "cat", `x\nUid:	0	0	0	0`, 1), procStatus{2, 6, []uint32{9, 10}}, true},
		{"a field twice", someStatus + "Uid:\t0\t0\t0\t0\n", procStatus{}, false},
		{"cut off", someStatus[:60], procStatus{}, false},
		{"empty", "", procStatus{}, false},
		{"three ids", strings.Replace(someStatus, "\t4\n", "\n", 1), procStatus{}, false},
		{"no number", strings.Replace(someStatus, "\t2\t", "\tx\t", 1), procStatus{}, false},
		{"negative", strings.Replace(someStatus, "\t2\t", "\t-1\t", 1), procStatus{}, false},
		{"bad group", strings.Replace(someStatus, "10", "1o", 1), procStatus{}, false},
	} {
		got, err := parseStatus(c.text)
		if (err == nil) != c.ok {
			t.Errorf("%s: error %v, want ok %v", c.name, err, c.ok)
		}
		if c.ok && (got.uid != c.want.uid || got.gid != c.want.gid || !slices.Equal(got.groups, c.want.groups)) {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
}

func TestParseStart(t *testing.T) {
	const rest = " S 1 42 42 0 -1 4194560 100 0 0 0 0 0 0 0 20 0 1 0 777 1000 100"
	for _, c := range []struct {
		text string
		want uint64
		ok   bool
	}{
		{"42 (cat)" + rest, 777, true},
		{"42 (a) S 1 (b c)" + rest, 777, true},
		{"42 (cat) S 1", 0, false},
		{"42 cat" + rest, 0, false},
		{"", 0, false},
		{"42 (cat)" + strings.Replace(rest, "777", "x", 1), 0, false},
	} {
		if got, err := parseStart(c.text); got != c.want || (err == nil) != c.ok {
			t.Errorf("%q: %d, %v, want %d, ok %v", c.text, got, err, c.want, c.ok)
		}
	}
}

func TestParsePid(t *testing.T) {
	for text, want := range map[string]int{
		"pos:\t0\nflags:\t02\nPid:\t42\nNSpid:\t42\n": 42,
		"Pid:\t-1\n":           0,
		"Pid:\t0\n":            0,
		"NSpid:\t42\n":         0,
		"Pid:\t42\nPid:\t43\n": 0,
		"Pid:\tx\n":            0,
	} {
		if got, err := parsePid(text); got != want || (err == nil) != (want > 0) {
			t.Errorf("%q: %d, %v, want %d", text, got, err, want)
		}
	}
}

func FuzzProc(f *testing.F) {
	f.Add(someStatus)
	f.Add("42 (a) S) S 1 42 42 0 -1 4194560 100 0 0 0 0 0 0 0 20 0 1 0 777 1000 100")
	f.Add("Pid:\t42\n")
	f.Fuzz(func(t *testing.T, text string) {
		if st, err := parseStatus(text); err == nil && (strings.Count(text, "Uid:") == 0 || strings.Count(text, "Groups:") == 0) {
			t.Errorf("%q: %+v out of nothing", text, st)
		}
		if pid, err := parsePid(text); err == nil && pid <= 0 {
			t.Errorf("%q: pid %d", text, pid)
		}
		_, _ = parseStart(text)
	})
}
