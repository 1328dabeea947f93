package password

import (
	"strings"
	"testing"

	"sallyport.dev/internal/obs"
)

// Passwords whose bytes matter: beyond ASCII, and more than 72 bytes.
const (
	wide    obs.Secret = "aüÿbc€🔑defghijklmnopqrstuévwxyzaüÿbc€🔑defghijklmnopqrstuévwxyzaüÿbc€🔑defghijklmnopqrstuévwxyz"
	overall obs.Secret = "0123456789012345678901234567890123456789012345678901234567890123456789abTHE REST DOES NOT COUNT"

	aepfel = "$2b$04$LX8JtCM9lRvPbT2yZ0aKweXfrW9dPkZrHy2jT7/woEGdH1RJ5LDRy" // of "äpfel", by libxcrypt
)

// vectors are hashes that other programs made:
//
//	libxcrypt    crypt(3) of Debian 12's libxcrypt, through Python 3.11's crypt
//	hashlib      Python 3.11's hashlib (OpenSSL 3.0), put together as the format's documentation says
//	hash-wasm    npm hash-wasm 4.13.0
//	reference    the test suite of the reference implementation of Argon2
//
// The sha-crypt ones agree with `openssl passwd -5` and `-6`.
var vectors = []struct {
	from, format string
	password     obs.Secret
	stored       string
}{
	{"libxcrypt", "bcrypt", typed, "$2a$04$LX8JtCM9lRvPbT2yZ0aKwePd/V.lCFJeYPbLKOQDViJMcgzp5S/IW"},
	{"libxcrypt", "bcrypt", typed, "$2b$04$LX8JtCM9lRvPbT2yZ0aKwePd/V.lCFJeYPbLKOQDViJMcgzp5S/IW"},
	{"libxcrypt", "bcrypt", typed, "$2y$04$LX8JtCM9lRvPbT2yZ0aKwePd/V.lCFJeYPbLKOQDViJMcgzp5S/IW"},
	{"libxcrypt", "bcrypt", typed, "$2x$04$LX8JtCM9lRvPbT2yZ0aKweKgV8wfhgrXD3Qylt2GmlbOEfmB3emSa"},
	{"libxcrypt", "bcrypt", wide, "$2x$04$LX8JtCM9lRvPbT2yZ0aKwe9NgX0GKrpIpNkAuGjpD/jdc9cMFobvG"},
	{"libxcrypt", "bcrypt", wide, "$2a$04$LX8JtCM9lRvPbT2yZ0aKwersq4kqGF111gs6EDMDuhk.Z9FMfF0Cy"},
	{"libxcrypt", "bcrypt", overall, "$2y$04$LX8JtCM9lRvPbT2yZ0aKwesTccTERMtflOqQQd/t2eltwHf2Vrz0C"},
	{"libxcrypt", "bcrypt", typed, "{CRYPT}$2b$04$LX8JtCM9lRvPbT2yZ0aKwePd/V.lCFJeYPbLKOQDViJMcgzp5S/IW"},
	{"libxcrypt", "bcrypt", typed, "bcrypt$$2b$04$LX8JtCM9lRvPbT2yZ0aKwePd/V.lCFJeYPbLKOQDViJMcgzp5S/IW"},
	{"hashlib and libxcrypt", "bcrypt-sha256", typed, "bcrypt_sha256$$2b$04$LX8JtCM9lRvPbT2yZ0aKweBvmWsdpTP.1yyq/2ifXrJ12WflpdjXi"},

	{"libxcrypt", "sha256crypt", typed, "$5$saltstringsaltst$mcu1/9tBxKedl7vL1LtKtyUxqDBgm5qw962ivNzC5I."},
	{"libxcrypt", "sha256crypt", typed, "$5$rounds=1400$anotherlong$xE73Cqv2S.5.HnFc62tj.J1Y01eR.CCfLwuEmNERLB1"},
	{"libxcrypt", "sha512crypt", typed, "$6$saltstring$NpGKDO1FVnlOtoUy3I.nmOvtqT5INRfPiedf1QLluukfFmjPqlR0v9IlYb8McnX07wXpuvYAJyQb1KyvPnkw9/"},
	{"libxcrypt", "sha512crypt", typed, "{sha512-crypt}$6$rounds=1777$abc./XYZ$VMX2YWwcSdR46pSV/8lRpZ3v/SefmM9RFlLUyEpoXcLuJTpI9UaZsqVfLKgapLN7IGcGuQuehYiV3DYG5vYRs0"},

	{"hashlib", "pbkdf2", typed, "$pbkdf2$2900$AAECAwQFBgcICQoLDA0ODw$B.6gXGgIvn95Q7s6Um0EByDK6eU"},
	{"hashlib", "pbkdf2", typed, "$pbkdf2-sha256$2900$AAECAwQFBgcICQoLDA0ODw$Zdex3zMekcQbT7hpqI5V7MI1IbcYcvNwUBblwF/jwco"},
	{"hashlib", "pbkdf2", typed, "$pbkdf2-sha512$2900$AAECAwQFBgcICQoLDA0ODw$32tYGB4bwlyeMy44hGB8VLuG9uGgQAPLk8/7/qoiC7NZ6GN2bjZ1lLHY5.Ni7YH3OvnI8I76.eaEO1uwR530CA"},
	{"hashlib", "pbkdf2", typed, "$pbkdf2-sha256$1000$..///vvv//777//...///g$3Hn6T2IYTpZoUbcLLvDK14YgY8VfaEmcHgWrJzCq7/4"},
	{"hashlib", "pbkdf2", typed, "$pbkdf2-sha256$i=1000,l=32$++///vvv//777//+++///g$3Hn6T2IYTpZoUbcLLvDK14YgY8VfaEmcHgWrJzCq7/4"},
	{"hashlib", "pbkdf2", typed, "$pbkdf2-sha256$i=1000$++///vvv//777//+++///g$3Hn6T2IYTpZoUbcLLvDK14YgY8VfaEmcHgWrJzCq7/4"},
	{"hashlib", "pbkdf2", typed, "{PBKDF2-SHA256}1000$..///vvv//777//...///g$3Hn6T2IYTpZoUbcLLvDK14YgY8VfaEmcHgWrJzCq7/4"},
	{"hashlib, of several blocks", "pbkdf2", typed, "$pbkdf2$1000$AAECAwQFBgcICQoLDA0ODw$yMPBQz28mV87b5p6nVUReCeva7SY8LMcY0ijICuWNXiINe3BcXiIEGwX43sGtx9Bq0.IaM4DWUb7r1JbI5BakQ"},
	{"hashlib", "pbkdf2", typed, "pbkdf2_sha256$1200$seasalt$mRIXU7cCoJ98ujs+mqZ8iZIMfBeg1sKP4VUSbxRsuVw="},
	{"hashlib", "pbkdf2", typed, "pbkdf2_sha1$1200$seasalt$xWwpSZlivOC8JZilEUM6NU15jzs="},

	{"hashlib", "scrypt", typed, "$scrypt$ln=10,r=8,p=1$AAECAwQFBgcICQoLDA0ODw$ufUSEsMtotyS4RpE2AA5zyVnMKTKjNpyy1y5V6IiRTc"},
	{"hashlib", "scrypt", typed, "scrypt$1024$seasalt$8$5$9zP3kY4NerX8KwjX/aXR3HtO+FxTFOgm7pmok0i8s+ws9f23TQDDKh4kFVECxk5Nr8pFBv67RscXXoSADx9iUg=="},

	{"hash-wasm", "argon2id", typed, "$argon2id$v=19$m=256,t=2,p=1$AAECAwQFBgcICQoLDA0ODw$SD8FtqGJlQcege8pkInBr/qkbdbiQern50Ovx3EvNrg"},
	{"hash-wasm", "argon2id", typed, "$argon2id$v=19$m=512,t=3,p=4$AAECAwQFBgcICQoLDA0ODw$mLB0ZwisXS79J02+bWnh36BQYkRnQvFs"},
	{"hash-wasm", "argon2i", typed, "$argon2i$v=19$m=256,t=2,p=1$AAECAwQFBgcICQoLDA0ODw$sf1gnydhDtp+tLk6yDzww1jZ6CcouK7NH1GJ/yK3XqU"},
	{"hash-wasm", "argon2id", typed, "argon2$argon2id$v=19$m=256,t=2,p=1$AAECAwQFBgcICQoLDA0ODw$SD8FtqGJlQcege8pkInBr/qkbdbiQern50Ovx3EvNrg"},
	{"hash-wasm", "argon2i", typed, "{ARGON2}$argon2i$v=19$m=256,t=2,p=1$AAECAwQFBgcICQoLDA0ODw$sf1gnydhDtp+tLk6yDzww1jZ6CcouK7NH1GJ/yK3XqU"},
	{"reference", "argon2id", "password", "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4"},
	{"reference", "argon2i", "password", "$argon2i$v=19$m=256,t=2,p=1$c29tZXNhbHQ$iekCn0Y3spW+sCcFanM2xBT63UP2sghkUoHLIUpWRS8"},

	{"hashlib", "ssha", typed, "{SSHA}xqbYsLzMA3V3n6UhSDLfJJAUyMoBAgMEBQYHCA=="},
	{"hashlib", "ssha", typed, "{SSHA256}tV55o6u0ioFHLzfDnSbsdQjJnHuVJ4m0XhoHeJ2XJPEBAgMEBQYHCA=="},
	{"hashlib", "ssha", typed, "{ssha384}ohku5vp1e33uAmW8tULO9FGdtBJHGzHPBrsu5K0BR75eE+matmgSM0jaG7VRYH+OAQIDBAUGBwg="},
	{"hashlib", "ssha", typed, "{SSHA512}Q1i/t4bFinnSKyBhf2dOHIttSCrmD+HN4rFKAUTtBHuUtoKVVFEfiqBnTP+5eiUA699M5rExejn7yHxVdLarWwECAwQFBgcI"},
}

func TestForeignHashes(t *testing.T) {
	s := cheaply(t)
	for _, v := range vectors {
		format, err := s.Foreign(v.stored)
		if err != nil || format != v.format {
			t.Errorf("Foreign(%s) = %q, %v; want %q", v.stored, format, err, v.format)
		}
		ok, renew, err := s.Check(t.Context(), v.password, v.stored, FormRaw)
		if !ok || err != nil || !strings.HasPrefix(renew, "$argon2id$v=19$m=8,t=1,p=1$") {
			t.Errorf("%s, from %s: the right password: %v, renew %q, %v", v.stored, v.from, ok, renew, err)
		}
		// A wrong one differs from its beginning, so that formats that cut passwords see it.
		wrong := "X" + v.password
		if ok, renew, err := s.Check(t.Context(), wrong, v.stored, FormRaw); ok || renew != "" || err != nil {
			t.Errorf("%s: a wrong password: %v, renew %q, %v", v.stored, ok, renew, err)
		}
	}
}

// TestBcryptReads72Bytes: what was hashed there is what counts here, until the
// hash is renewed with the whole password.
func TestBcryptReads72Bytes(t *testing.T) {
	s := cheaply(t)
	const stored = "$2y$04$LX8JtCM9lRvPbT2yZ0aKwesTccTERMtflOqQQd/t2eltwHf2Vrz0C" // of overall
	for name, c := range map[string]struct {
		p    obs.Secret
		want bool
	}{
		"all of it":          {overall, true},
		"its first 72 bytes": {overall[:72], true},
		"another end":        {overall[:72] + "another end", true},
		"71 bytes":           {overall[:71], false},
		"another byte 72":    {overall[:71] + "x", false},
	} {
		ok, renew, err := s.Check(t.Context(), c.p, stored, FormRaw)
		if ok != c.want || err != nil {
			t.Errorf("%s: %v, %v; want %v", name, ok, err, c.want)
		}
		if !ok {
			continue
		}
		if again, _, _ := s.Check(t.Context(), c.p, renew, FormNFC); !again {
			t.Errorf("%s: renewed: the same password is refused", name)
		}
		if again, _, _ := s.Check(t.Context(), c.p+"x", renew, FormNFC); again {
			t.Errorf("%s: renewed: it still counts 72 bytes", name)
		}
	}
}

// TestNULIsNoEnd: programs in C end a password at NUL. Here it ends nothing.
func TestNULIsNoEnd(t *testing.T) {
	s := cheaply(t)
	for _, stored := range []string{
		"$2b$04$LX8JtCM9lRvPbT2yZ0aKwePd/V.lCFJeYPbLKOQDViJMcgzp5S/IW",
		"$2x$04$LX8JtCM9lRvPbT2yZ0aKweKgV8wfhgrXD3Qylt2GmlbOEfmB3emSa",
		"$5$saltstringsaltst$mcu1/9tBxKedl7vL1LtKtyUxqDBgm5qw962ivNzC5I.",
		"pbkdf2_sha1$1200$seasalt$xWwpSZlivOC8JZilEUM6NU15jzs=", // of HMAC, which fills its key with NUL
		"$scrypt$ln=10,r=8,p=1$AAECAwQFBgcICQoLDA0ODw$ufUSEsMtotyS4RpE2AA5zyVnMKTKjNpyy1y5V6IiRTc",
	} {
		if ok, _, err := s.Check(t.Context(), typed, stored, FormRaw); !ok || err != nil {
			t.Errorf("positive control: %s: %v, %v", stored, ok, err)
		}
		for _, p := range []obs.Secret{typed + "\x00", typed + "\x00more", typed + "\x00" + typed} { // bcrypt repeats a password with its NUL
			if ok, _, err := s.Check(t.Context(), p, stored, FormRaw); ok || err != nil {
				t.Errorf("%s lets %q in (%v)", stored, string(p), err)
			}
		}
	}
}

func TestForeignRefuses(t *testing.T) {
	s := cheaply(t)
	const salt, sum = "AAECAwQFBgcICQoLDA0ODw", "ufUSEsMtotyS4RpE2AA5zyVnMKTKjNpyy1y5V6IiRTc"
	const bcryptEnd = "LX8JtCM9lRvPbT2yZ0aKwePd/V.lCFJeYPbLKOQDViJMcgzp5S/IW"
	for _, c := range []struct{ stored, want string }{
		{"", "no hash"},
		{"hunter2hunter2", "unknown format"},
		{"5f4dcc3b5aa765d61d8327deb882cf99", "unknown format"},
		{strings.Repeat("a", 1025), "longer than"},
		{"$2b$04$" + bcryptEnd + "\n", "spaces"},
		{"$2b$04$LX8J tCM9", "spaces"},
		{"$", "unknown format"},
		{"$$$", "unknown format"},
		{"{", "unknown format"},
		{"{SSHA", "unknown format"},
		{"{NTLM}00", "unknown format"},

		{"$2b$16$" + bcryptEnd, "cost 16"},
		{"$2b$31$" + bcryptEnd, "cost 31"},
		{"$2b$03$" + bcryptEnd, "cost 3 "},
		{"$2b$+4$" + bcryptEnd, "two digits"},
		{"$2b$4$" + bcryptEnd + "a", "want $2b$COST$"},
		{"$2b$04$" + bcryptEnd[1:], "want $2b$COST$"},
		{"$2b$04$" + bcryptEnd + "a", "want $2b$COST$"},
		{"$2b$04$" + bcryptEnd[:52] + "!", "want $2b$COST$"},
		{"$2c$04$" + bcryptEnd, "unknown format"},
		{"$2$04$" + bcryptEnd, "$2$ is not taken"},
		{"bcrypt$", "want $2b$COST$"},
		{"bcrypt_sha256$$2b$31$" + bcryptEnd, "cost 31"},

		{"$argon2d$v=19$m=256,t=2,p=1$" + salt + "$" + sum, "argon2d"},
		{"$argon2id$v=16$m=256,t=2,p=1$" + salt + "$" + sum, "want $argon2id$v=19"},
		{"$argon2id$m=256,t=2,p=1$" + salt + "$" + sum, "want $argon2id$v=19"},
		{"$argon2id$v=19$m=4194304,t=2,p=1$" + salt + "$" + sum, "above"},
		{"$argon2id$v=19$m=262144,t=16,p=1$" + salt + "$" + sum, "above"},
		{"$argon2id$v=19$m=131072,t=1,p=1$" + salt + "$" + sum, "needs 131072 KiB"},
		{"$argon2id$v=19$m=256,t=17,p=1$" + salt + "$" + sum, "t=17"},
		{"$argon2id$v=19$m=256,t=2,p=257$" + salt + "$" + sum, "in bounds"},
		{"$argon2id$v=19$t=2,m=256,p=1$" + salt + "$" + sum, "parameters"},
		{"$argon2id$v=19$m=256,t=2,p=1$AAEC$" + sum, "salt of 3 bytes"},
		{"$argon2id$v=19$m=256,t=2,p=1$" + salt + "$AAEC", "sum of 3 bytes"},
		{"$argon2id$v=19$m=256,t=2,p=1$" + salt + "$" + sum + "=", "base64"},
		{"argon2$scrypt$ln=10,r=8,p=1$" + salt + "$" + sum, "not argon2id"},

		{"$pbkdf2-sha256$5000001$" + salt + "$" + sum, "above"},
		{"$pbkdf2-sha256$99999999999$" + salt + "$" + sum, "not a number"},
		{"$pbkdf2-sha256$0$" + salt + "$" + sum, "not a number"},
		{"$pbkdf2-sha256$-1$" + salt + "$" + sum, "not a number"},
		{"$pbkdf2-sha256$01000$" + salt + "$" + sum, "not a number"},
		{"$pbkdf2-sha256$1000$$" + sum, "salt of 0 bytes"},
		{"$pbkdf2-sha256$1000$" + salt + "$AAEC", "sum of 3 bytes"},
		{"$pbkdf2-sha256$1000$" + salt, "want iterations"},
		{"$pbkdf2-sha256$1000$" + salt + "$!", "base64"},
		{"$pbkdf2-sha256$i=1000,l=31$" + salt + "$" + sum, "length"},
		{"$pbkdf2-md5$1000$" + salt + "$" + sum, "unknown format"},
		{"$pbkdf2$3000000$" + salt + "$" + sum, "2 blocks"},
		{"pbkdf2_sha256$1200$seasalt$mRIXU7cCoJ98ujs+mqZ8iZIMfBeg1sKP4VUSbxRsuVw", "base64"},
		{"pbkdf2_sha256$99999999$seasalt$mRIXU7cCoJ98ujs+mqZ8iZIMfBeg1sKP4VUSbxRsuVw=", "above"},
		{"pbkdf2_sha256$1200", "want iterations"},

		{"$scrypt$ln=24,r=8,p=1$" + salt + "$" + sum, "above"},
		{"$scrypt$ln=19,r=8,p=1$" + salt + "$" + sum, "above"},
		{"$scrypt$ln=17,r=8,p=1$" + salt + "$" + sum, "needs 131"}, // more than this budget
		{"$scrypt$ln=20,r=1,p=8$" + salt + "$" + sum, "needs 131"},
		{"$scrypt$ln=16,r=8,p=17$" + salt + "$" + sum, "above"},
		{"$scrypt$ln=64,r=8,p=1$" + salt + "$" + sum, "in bounds"},
		{"$scrypt$ln=0,r=8,p=1$" + salt + "$" + sum, "in bounds"},
		{"$scrypt$ln=10,r=0,p=1$" + salt + "$" + sum, "power of two"},
		{"$scrypt$ln=10,r=4294967295,p=4294967295$" + salt + "$" + sum, "above"},
		{"$scrypt$ln=10,r=8,p=1$" + salt + "$", "sum of 0 bytes"},
		{"scrypt$1000$seasalt$8$1$9zP3kY4NerX8KwjX/aXR3A==", "power of two"},
		{"scrypt$4294967295$seasalt$8$1$9zP3kY4NerX8KwjX/aXR3A==", "power of two"},
		{"scrypt$1024$seasalt$8$1", "want N"},

		{"$5$rounds=999$salt$mcu1/9tBxKedl7vL1LtKtyUxqDBgm5qw962ivNzC5I.", "rounds"},
		{"$5$rounds=999999999$salt$mcu1/9tBxKedl7vL1LtKtyUxqDBgm5qw962ivNzC5I.", "rounds"},
		{"$5$saltstringsaltstr$mcu1/9tBxKedl7vL1LtKtyUxqDBgm5qw962ivNzC5I.", "salt"},
		{"$5$$mcu1/9tBxKedl7vL1LtKtyUxqDBgm5qw962ivNzC5I.", "salt"},
		{"$5$salt$mcu1", "sum"},
		{"$6$salt$mcu1/9tBxKedl7vL1LtKtyUxqDBgm5qw962ivNzC5I.", "sum"},
		{"$5$", "want"},
		{"$1$salt$qJH7.N4xYta3aEG/dfqo/0", "md5crypt"},

		{"{SSHA}xqbYsLzMA3V3n6UhSDLfJJAUyMo=", "salt"}, // a digest, and nothing behind it
		{"{SSHA}", "salt"},
		{"{SSHA}!", "base64"},
		{"{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", "no salt"},
		{"{CRYPT}ab01FAX.bQRSU", "not taken"},
		{"{CRYPT}{CRYPT}$5$", "not taken"},
		{"sha1$seasalt$00", "not taken"},
		{"md5$seasalt$00", "not taken"},
	} {
		format, err := s.Foreign(c.stored)
		if err == nil || format != "" || !strings.Contains(err.Error(), c.want) {
			t.Errorf("Foreign(%q) = %q, %v; want an error with %q", c.stored, format, err, c.want)
			continue
		}
		for _, secret := range []string{salt, sum, bcryptEnd, "hunter2", "seasalt"} {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("the error holds a part of the hash: %v", err)
			}
		}
		if ok, renew, err := s.Check(t.Context(), typed, c.stored, FormRaw); ok || renew != "" || err != nil {
			t.Errorf("Check against %q: %v, %q, %v", c.stored, ok, renew, err)
		}
	}
}

// TestForeignMemoryIsCounted compares what the gate is asked for with what the
// formats' papers say.
func TestForeignMemoryIsCounted(t *testing.T) {
	for _, c := range []struct {
		stored string
		want   int64 // KiB, at least
	}{
		{"$scrypt$ln=16,r=8,p=1$aM15713r3Xsvxbi31lqr1Q$nFNh2CVHVjNldFVKDHDlm4CbdRSCdEBsjjJxD+iCs5E", 64 << 10},
		{"$scrypt$ln=18,r=8,p=1$aM15713r3Xsvxbi31lqr1Q$nFNh2CVHVjNldFVKDHDlm4CbdRSCdEBsjjJxD+iCs5E", 256 << 10},
		{"$argon2i$v=19$m=65536,t=3,p=4$AAECAwQFBgcICQoLDA0ODw$sf1gnydhDtp+tLk6yDzww1jZ6CcouK7NH1GJ/yK3XqU", 64 << 10},
	} {
		f, err := parse(c.stored)
		if err != nil || f.kib < c.want || f.kib > c.want+c.want/64 {
			t.Errorf("%s: %d KiB (%v), want %d or little more", c.stored, f.kib, err, c.want)
		}
	}
}

func FuzzForeign(f *testing.F) {
	for _, v := range vectors {
		f.Add(v.stored)
	}
	f.Add("$scrypt$ln=31,r=1024,p=1024$AA$AA")
	f.Add("scrypt$4294967295$x$4294967295$4294967295$9zP3kY4NerX8KwjX/aXR3A==")
	f.Fuzz(func(t *testing.T, stored string) {
		got, err := parse(stored)
		if err != nil {
			if got.format != "" || got.matches != nil {
				t.Errorf("parse(%q): an error (%v), and %+v", stored, err, got)
			}
			return
		}
		if got.format == "" || got.matches == nil || got.kib < 1 || got.kib > maxMemory+maxMemory/256 {
			t.Errorf("parse(%q) = %q, %d KiB", stored, got.format, got.kib)
		}
		if got.own.kind != "" {
			if spelled := got.own.String(); !strings.HasSuffix(stored, spelled) && !strings.HasSuffix("$"+stored, spelled) {
				t.Errorf("parse(%q) reads %q", stored, spelled)
			}
			if err := got.own.cost.bounded(); err != nil {
				t.Errorf("parse(%q): %v", stored, err)
			}
		}
	})
}

func FuzzPHC(f *testing.F) {
	f.Add("$argon2id$v=19$m=47104,t=1,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
	f.Add("$argon2i$v=19$m=8,t=1,p=1$$")
	f.Add("$2y$10$abcdefghijklmnopqrstuv")
	f.Fuzz(func(t *testing.T, text string) {
		h, err := parsePHC(text)
		if err != nil {
			return
		}
		if h.String() != text {
			t.Errorf("parsePHC(%q) writes back %q", text, h.String())
		}
		if err := h.cost.bounded(); err != nil {
			t.Errorf("parsePHC(%q) lets the cost pass: %v", text, err)
		}
	})
}
