package identity

import (
	"strings"
	"testing"
)

// A hash written by the reference implementation of Argon2 (its own test suite:
// password "password", salt "somesalt").
const referencePHC = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"

func TestHashOfTheReferenceImplementation(t *testing.T) {
	s, err := parsePHC(referencePHC)
	if err != nil {
		t.Fatal(err)
	}
	if s.cost != (cost{65536, 2, 1}) || string(s.salt) != "somesalt" {
		t.Errorf("parsePHC(%q) = %+v", referencePHC, s)
	}
	h := hasher{cost: cheap, derive: argon2id}
	if ok, _ := h.check([]byte("password"), s); !ok {
		t.Error("the right password is refused")
	}
	if ok, renewed := h.check([]byte("passwore"), s); ok || renewed != nil {
		t.Errorf("a wrong password: ok %v, renewed %v, want false, nil", ok, renewed)
	}
}

func TestNewHashHasTheCurrentCost(t *testing.T) {
	w := newWorld(t, openZone())
	real := newHasher(cost{currentMemory, currentPasses, currentThreads}, argon2id)
	s := real.hash([]byte("a fine passphrase"))
	if want := "$argon2id$v=19$m=19456,t=2,p=1$"; !strings.HasPrefix(s.phc(), want) {
		t.Errorf("stored form %q, want prefix %q", s.phc(), want)
	}
	if len(s.salt) != 16 || len(s.sum) != 32 {
		t.Errorf("salt of %d bytes, sum of %d, want 16 and 32", len(s.salt), len(s.sum))
	}
	if again := real.hash([]byte("a fine passphrase")); again.phc() == s.phc() {
		t.Error("two hashes of one password are equal")
	}
	if ok, renewed := real.check([]byte("a fine passphrase"), s); !ok || renewed != nil {
		t.Errorf("check of the right password: %v, renewed %v, want true, nil", ok, renewed)
	}
	if ok, _ := real.check([]byte("a fine passphrasE"), s); ok {
		t.Error("check of a wrong password: true")
	}
	if fresh, err := New(Config{DB: w.db, Zone: openZone(), Sessions: w.sessions}); err != nil || fresh.hasher.cost != s.cost {
		t.Errorf("New hashes at %+v (%v), want %+v", fresh.hasher.cost, err, s.cost)
	}
}

func TestOutdatedHashIsRenewed(t *testing.T) {
	c := &counts{}
	old := newHasher(cost{memory: 16, passes: 3, threads: 2}, c.derive)
	now := newHasher(cheap, c.derive)
	s := old.hash([]byte("right"))
	c.reset()
	ok, renewed := now.check([]byte("right"), s)
	if !ok || renewed == nil || renewed.cost != cheap {
		t.Fatalf("check of an outdated hash: ok %v, renewed %+v, want one at %+v", ok, renewed, cheap)
	}
	if ok, again := now.check([]byte("right"), *renewed); !ok || again != nil {
		t.Errorf("check of the renewed hash: ok %v, renewed %v, want true, nil", ok, again)
	}
	c.reset()
	if ok, renewed := now.check([]byte("wrong"), s); ok || renewed != nil {
		t.Errorf("wrong password: ok %v, renewed %v, want false, nil", ok, renewed)
	}
	if len(c.hashes) != 2 || c.hashes[1] != cheap {
		t.Errorf("hashes of a wrong password: %v, want the stored cost and then %v", c.hashes, cheap)
	}
}

func TestParsePHCRefuses(t *testing.T) {
	good := hasher{cost: cheap, derive: (&counts{}).derive}.hash([]byte("x")).phc()
	if _, err := parsePHC(good); err != nil {
		t.Fatalf("positive control: parsePHC(%q): %v", good, err)
	}
	for name, edit := range map[string][2]string{
		"argon2i":           {"argon2id", "argon2i"},
		"argon2d":           {"argon2id", "argon2d"},
		"bcrypt":            {good, "$2b$12$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW"},
		"empty":             {good, ""},
		"plain":             {good, "hunter2hunter2"},
		"no version":        {"$v=19", ""},
		"old version":       {"v=19", "v=16"},
		"other order":       {"m=8,t=1,p=1", "t=1,m=8,p=1"},
		"memory of nothing": {"m=8", "m=0"},
		"memory below 8p":   {"m=8", "m=7"},
		"memory of 4 TiB":   {"m=8", "m=4294967295"},
		"memory too long":   {"m=8", "m=99999999999999999999"},
		"leading zero":      {"m=8", "m=08"},
		"sign":              {"m=8", "m=+8"},
		"no passes":         {"t=1", "t=0"},
		"many passes":       {"t=1", "t=4294967295"},
		"no threads":        {"p=1", "p=0"},
		"many threads":      {"p=1", "p=17"},
		"more after":        {good, good + "$"},
		"padding":           {good, good + "="},
		"line break":        {good, good + "\n"},
		"short sum":         {good, good[:len(good)-4]},
		"keyid":             {"p=1", "p=1,keyid=AAAA"},
	} {
		text := strings.Replace(good, edit[0], edit[1], 1)
		if s, err := parsePHC(text); err == nil {
			t.Errorf("%s: parsePHC(%q) = %+v, want an error", name, text, s)
		}
	}
}

func FuzzParsePHC(f *testing.F) {
	f.Add(referencePHC)
	f.Add("$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
	f.Add("$argon2id$v=19$m=8,t=1,p=1$$")
	f.Add("$2y$10$abcdefghijklmnopqrstuv")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := parsePHC(text)
		if err != nil {
			return
		}
		if s.phc() != text {
			t.Errorf("parsePHC(%q) writes back %q", text, s.phc())
		}
		if s.cost.memory > maxMemory || s.cost.passes > maxPasses || s.cost.threads > maxThreads || s.cost.passes == 0 || s.cost.threads == 0 {
			t.Errorf("parsePHC(%q) lets the cost %+v pass", text, s.cost)
		}
	})
}
