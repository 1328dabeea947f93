package password

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sallyport.dev/internal/obs"
	"sallyport.dev/internal/problem"
)

// cheap is a cost for tests only: New refuses it.
var cheap = Cost{Memory: 8, Passes: 1, Threads: 1}

const typed = obs.Secret("correct horse battery stäple")

func cheaply(t testing.TB) *Passwords {
	t.Helper()
	s, err := newPasswords(Config{Memory: 64 << 20, Cost: cheap}, argon2id)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func hashed(t testing.TB, s *Passwords, p obs.Secret) string {
	t.Helper()
	encoded, form, err := s.Hash(t.Context(), p)
	if err != nil || form != FormNFC {
		t.Fatalf("Hash: form %q, %v", form, err)
	}
	return encoded
}

func TestDefaultCost(t *testing.T) {
	s, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	stored := hashed(t, s, typed)
	if want := "$argon2id$v=19$m=47104,t=1,p=1$"; !strings.HasPrefix(stored, want) {
		t.Errorf("stored form %q, want prefix %q", stored, want)
	}
	if got := s.gate.budget; got != 192<<10 {
		t.Errorf("budget of %d KiB, want 192 MiB", got)
	}
	if ok, renew, err := s.Check(t.Context(), typed, stored, FormNFC); !ok || renew != "" || err != nil {
		t.Errorf("Check of the right password: %v, renew %q, %v", ok, renew, err)
	}
	if h, err := parsePHC(stored); err != nil || len(h.salt) != 16 || len(h.sum) != 32 {
		t.Errorf("parsePHC(%q) = %+v, %v", stored, h, err)
	}
}

func TestCostIsNeverBelowTheLeast(t *testing.T) {
	for _, c := range []struct {
		name   string
		cost   Cost
		memory int64
		ok     bool
	}{
		{"default", Cost{}, 0, true},
		{"46 MiB, one pass", Cost{47104, 1, 1}, 0, true},
		{"19 MiB, two passes", Cost{19456, 2, 1}, 0, true},
		{"19 MiB, three passes, two lanes", Cost{19456, 3, 2}, 0, true},
		{"19 MiB, one pass", Cost{19456, 1, 1}, 0, false},
		{"almost 46 MiB, one pass", Cost{47103, 1, 1}, 0, false},
		{"almost 19 MiB", Cost{19455, 4, 1}, 0, false},
		{"no passes", Cost{47104, 0, 1}, 0, false},
		{"no lanes", Cost{47104, 1, 0}, 0, false},
		{"more than is read back", Cost{maxMemory + 1, 1, 1}, 1 << 40, false},
		{"work without end", Cost{47104, 200, 1}, 0, false},
		{"budget for one", Cost{}, 46 << 20, true},
		{"budget for less than one", Cost{}, 46<<20 - 1, false},
		{"negative budget", Cost{}, -1, false},
	} {
		s, err := New(Config{Cost: c.cost, Memory: c.memory})
		if (err == nil) != c.ok || (s != nil) != c.ok {
			t.Errorf("%s: New: %v, want ok %v", c.name, err, c.ok)
		}
	}
}

// TestEveryPathCostsOneHash is the whole of what a stranger can send: whatever
// is stored, the check of a wrong password computes one argon2id at the current
// cost, and so does a right one.
func TestEveryPathCostsOneHash(t *testing.T) {
	s := cheaply(t)
	older, err := newPasswords(Config{Memory: 64 << 20, Cost: Cost{16, 2, 1}}, argon2id)
	if err != nil {
		t.Fatal(err)
	}
	tight, err := newPasswords(Config{Memory: 1 << 20, Cost: cheap}, argon2id)
	if err != nil {
		t.Fatal(err)
	}
	now, old := hashed(t, s, typed), hashed(t, older, typed)
	type row struct {
		name, stored, form string
		right              bool // the right password is let in
		renewed            bool
	}
	rows := []row{
		{"unknown account", "", "", false, false},
		{"current", now, FormNFC, true, false},
		{"current, other form of the same bytes", now, FormNFKC, true, true},
		{"current, imported", now, FormRaw, true, true},
		{"older cost", old, FormNFC, true, true},
		{"older cost, older form", old, FormNFKC, true, true},
		{"damaged", now[:len(now)-1], FormNFC, false, false},
		{"plain text", string(typed), FormNFC, false, false},
		{"form unknown", now, "nfd", false, false},
		{"form missing", now, "", false, false},
	}
	for _, v := range vectors {
		if v.password == typed {
			rows = append(rows, row{v.stored[:12], v.stored, FormRaw, true, true})
		}
	}
	for _, r := range rows {
		for password, want := range map[obs.Secret]bool{typed: r.right, typed + "!": false, "x": false} {
			before := s.Hashes()
			ok, renew, err := s.Check(t.Context(), password, r.stored, r.form)
			if err != nil || ok != want || (renew != "") != (want && r.renewed) {
				t.Errorf("%s: Check: %v, renew %q, %v; want %v, renewed %v", r.name, ok, renew, err, want, want && r.renewed)
			}
			if n := s.Hashes() - before; n != 1 {
				t.Errorf("%s: %d hashes at the current cost, want 1", r.name, n)
			}
			if renew == "" {
				continue
			}
			if again, more, err := s.Check(t.Context(), password, renew, FormNFC); !again || more != "" || err != nil {
				t.Errorf("%s: Check of what was renewed: %v, renew %q, %v", r.name, again, more, err)
			}
			if wrong, _, _ := s.Check(t.Context(), password+"!", renew, FormNFC); wrong {
				t.Errorf("%s: what was renewed lets another password in", r.name)
			}
		}
	}
	// A hash that does not fit into the budget is like a damaged one.
	const large = "$argon2id$v=19$m=2048,t=1,p=1$AAECAwQFBgcICQoLDA0ODw$SD8FtqGJlQcege8pkInBr/qkbdbiQern50Ovx3EvNrg"
	if ok, _, err := tight.Check(t.Context(), typed, large, FormRaw); ok || err != nil || tight.Hashes() != 1 {
		t.Errorf("a hash beyond the budget: %v, %v, %d hashes", ok, err, tight.Hashes())
	}
	if _, err := tight.Foreign(large); err == nil || !strings.Contains(err.Error(), "needs 2048 KiB") {
		t.Errorf("Foreign of it: %v, want that it needs 2048 KiB", err)
	}
	if format, err := s.Foreign(large); err != nil || format != "argon2id" {
		t.Errorf("positive control: %q, %v", format, err)
	}
}

// TestForms: rows of earlier versions hold hashes of NFKC.
func TestForms(t *testing.T) {
	s := cheaply(t)
	const (
		ligature = obs.Secret("the o\ufb03ce of ４２ cats") // NFKC changes it, NFC does not
		apart    = obs.Secret("cafe\u0301 au lait, please")
		composed = obs.Secret("caf\u00e9 au lait, please")
	)
	before := s.hashOf(t, "the office of 42 cats") // as an earlier version stored it
	ok, renew, err := s.Check(t.Context(), ligature, before, FormNFKC)
	if !ok || renew == "" || err != nil {
		t.Fatalf("a row of nfkc: %v, renew %q, %v", ok, renew, err)
	}
	for _, c := range []struct {
		name         string
		p            obs.Secret
		stored, form string
		want         bool
	}{
		{"renewed, as typed", ligature, renew, FormNFC, true},
		{"renewed, in plain letters", "the office of 42 cats", renew, FormNFC, false},
		{"before, in plain letters", "the office of 42 cats", before, FormNFKC, true},
		{"before, as if nfc", ligature, before, FormNFC, false},
		{"composed and decomposed", apart, hashed(t, s, composed), FormNFC, true},
		{"decomposed and composed", composed, hashed(t, s, apart), FormNFC, true},
		{"imported, as it was sent", apart, s.hashOf(t, string(apart)), FormRaw, true},
		{"imported, composed", apart, s.hashOf(t, string(composed)), FormRaw, true},
		{"imported, another", "cafe au lait, please", s.hashOf(t, string(composed)), FormRaw, false},
		{"imported bcrypt, composed", "a\u0308pfel", aepfel, FormRaw, true},
		{"imported bcrypt, as it was sent", "\u00e4pfel", aepfel, FormRaw, true},
		{"imported bcrypt, another", "apfel", aepfel, FormRaw, false},
		{"full-width is another password", "ｓｅｃｒｅｔ ｄｏｏｒ", hashed(t, s, "secret door"), FormNFC, false},
	} {
		if ok, _, err := s.Check(t.Context(), c.p, c.stored, c.form); ok != c.want || err != nil {
			t.Errorf("%s: %v, %v; want %v", c.name, ok, err, c.want)
		}
	}
}

// hashOf is the stored form of bytes as they are.
func (s *Passwords) hashOf(t *testing.T, plain string) string {
	t.Helper()
	return s.fresh(presented{nfc: []byte(plain)})
}

func TestCheckRefusesWhatIsNoPassword(t *testing.T) {
	s := cheaply(t)
	stored := hashed(t, s, typed)
	n := s.Hashes()
	for name, p := range map[string]obs.Secret{
		"empty":              "",
		"not UTF-8":          "abcdefgh\xff",
		"damaged by a proxy": "abcdefgh\ufffd",
		"129 characters":     obs.Secret(strings.Repeat("a", 129)),
		"1025 bytes":         obs.Secret(strings.Repeat("a", 1025)),
	} {
		if ok, _, err := s.Check(t.Context(), p, stored, FormNFC); ok || problem.ReasonOf(err) != problem.AccountInvalid {
			t.Errorf("%s: %v, %v; want account.invalid", name, ok, err)
		}
		if _, _, err := s.Hash(t.Context(), p); problem.ReasonOf(err) != problem.AccountInvalid {
			t.Errorf("%s: Hash: %v; want account.invalid", name, err)
		}
	}
	if s.Hashes() != n {
		t.Error("something was hashed")
	}
	for name, p := range map[string]obs.Secret{
		"128 characters":                    obs.Secret(strings.Repeat("a", 128)),
		"128 characters of 8 bytes":         obs.Secret(strings.Repeat("e\u0301", 128)), // é is one character
		"128 characters beyond the 16 bits": obs.Secret(strings.Repeat("🂡", 128)),
		"NUL":                               "with\x00 in the middle",
	} {
		if ok, _, err := s.Check(t.Context(), p, hashed(t, s, p), FormNFC); !ok || err != nil {
			t.Errorf("%s: %v, %v; want true", name, ok, err)
		}
	}
}

// TestBusy: a check that finds no memory is told when to come back, whatever is
// stored, and has cost nothing.
func TestBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := newPasswords(Config{Memory: 2 << 20, Cost: cheap}, argon2id)
		if err != nil {
			t.Fatal(err)
		}
		const scrypt = "$scrypt$ln=10,r=8,p=1$AAECAwQFBgcICQoLDA0ODw$ufUSEsMtotyS4RpE2AA5zyVnMKTKjNpyy1y5V6IiRTc" // 1 MiB
		leave, err := s.gate.enter(t.Context(), 1<<10)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		if ok, _, err := s.Check(ctx, typed, "", FormNFC); ok || err != nil {
			t.Errorf("a check that fits beside it: %v", err)
		}
		_, _, err = s.Check(ctx, typed, scrypt, FormRaw)
		var busy *BusyError
		if problem.ReasonOf(err) != problem.LimitBusy || !errors.As(err, &busy) || busy.RetryAfter() != 2*time.Second {
			t.Errorf("a foreign hash that does not fit: %v, want limit.busy after 2s", err)
		}
		if s.Hashes() != 1 {
			t.Errorf("%d hashes, want 1", s.Hashes())
		}
		cancel()
		if _, _, err := s.Check(ctx, typed, scrypt, FormRaw); problem.ReasonOf(err) != problem.ClientClosed {
			t.Errorf("a client that is gone: %v, want client.closed", err)
		}
		leave()
		if ok, _, err := s.Check(t.Context(), typed, scrypt, FormRaw); !ok || err != nil {
			t.Errorf("when there is room: %v, %v", ok, err)
		}
		if !s.gate.memory.TryAcquire(2 << 10) {
			t.Error("memory was not given back")
		}
	})
}

func TestExpired(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name string
		set  time.Time
		max  time.Duration
		want bool
	}{
		{"no ageing", now.AddDate(-10, 0, 0), 0, false},
		{"no ageing, time unknown", time.Time{}, 0, false},
		{"young", now.Add(-time.Hour), 2 * time.Hour, false},
		{"of that age", now.Add(-time.Hour), time.Hour, true},
		{"older", now.Add(-2 * time.Hour), time.Hour, true},
		{"time unknown", time.Time{}, time.Hour, true},
		{"of the future", now.Add(time.Hour), time.Hour, false},
	} {
		if got := Expired(c.set, c.max, now); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}
