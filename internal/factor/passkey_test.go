package factor_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	va "github.com/descope/virtualwebauthn"

	"sallyport.dev/internal/factor"
	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/store"
)

func TestRegistrationOptions(t *testing.T) {
	w := newWorld(t)
	var raw []byte
	ask := func() (o struct {
		PublicKey struct {
			RP                     struct{ ID, Name string }
			User                   struct{ ID, Name string }
			Attestation            string
			ExcludeCredentials     []struct{ ID string }
			PubKeyCredParams       []struct{ Alg int }
			AuthenticatorSelection struct {
				ResidentKey        string
				RequireResidentKey bool
				UserVerification   string
			}
		}
	}) {
		t.Helper()
		w.must(w.change(func(ctx context.Context, tx *store.Tx) error {
			var err error
			raw, _, err = w.BeginRegistration(ctx, tx, alice, "alice@shop.example")
			return err
		}))
		w.must(json.Unmarshal(raw, &o))
		return o
	}
	first := ask().PublicKey
	if s := first.AuthenticatorSelection; s.ResidentKey != "required" || !s.RequireResidentKey || s.UserVerification != "required" {
		t.Errorf("selection %+v, want resident key and user verification required", s)
	}
	if first.RP.ID != rpID || first.RP.Name != "shop.example" || first.User.Name != "alice@shop.example" || first.Attestation != "none" {
		t.Errorf("options %s", raw)
	}
	if len(first.PubKeyCredParams) != 3 || first.PubKeyCredParams[0].Alg != -8 || first.PubKeyCredParams[1].Alg != -7 || first.PubKeyCredParams[2].Alg != -257 {
		t.Errorf("algorithms %+v, want EdDSA, ES256, RS256", first.PubKeyCredParams)
	}
	handle, err := base64.RawURLEncoding.DecodeString(first.User.ID)
	if err != nil || len(handle) != 64 || bytes.Contains(handle, []byte("alice")) || bytes.Contains(handle, []byte(alice[:8])) {
		t.Errorf("user handle %q, %v, want 64 random bytes", handle, err)
	}
	if len(first.ExcludeCredentials) != 0 {
		t.Errorf("excluded %v, want none", first.ExcludeCredentials)
	}

	d := newDevice()
	w.enroll(alice, d)
	second := ask().PublicKey
	if second.User.ID != first.User.ID {
		t.Error("the user's handle changed")
	}
	if len(second.ExcludeCredentials) != 1 || second.ExcludeCredentials[0].ID != base64.RawURLEncoding.EncodeToString(d.cred.ID) {
		t.Errorf("excluded %v, want the passkey that there is", second.ExcludeCredentials)
	}
}

func TestPasskeyLogsIn(t *testing.T) {
	w := newWorld(t)
	a, b := newDevice(), newDevice()
	b.cred = va.NewCredential(va.KeyTypeRSA)
	b.auth.Options.BackupEligible = true
	fa, fb := w.enroll(alice, a), w.enroll(bob, b)
	w.pass(time.Hour)
	for _, c := range []struct {
		user string
		d    *device
		f    factor.Factor
	}{{alice, a, fa}, {bob, b, fb}, {alice, a, fa}} {
		r, err := w.login(c.d)
		if err != nil || r.User != c.user || r.Factor.ID != c.f.ID || !r.Verified || r.Cloned {
			t.Errorf("login of %s: %+v, %v", c.user, r, err)
		}
		if !r.Factor.LastUsed.Equal(w.clock()) {
			t.Errorf("last used %v, want now", r.Factor.LastUsed)
		}
	}
	// It became synchronised since.
	b.auth.Options.BackupState = true
	if r, err := w.login(b); err != nil || !r.Factor.Synced {
		t.Errorf("login of a synchronised passkey: %+v, %v", r, err)
	}
	list, err := w.List(t.Context(), bob)
	if err != nil || len(list) != 1 || !list[0].Synced || list[0].LastUsed.IsZero() || list[0].Name != "my key" || list[0].Kind != factor.Passkey {
		t.Errorf("List = %+v, %v", list, err)
	}
	// What may be synchronised never changes.
	b.auth.Options.BackupEligible, b.auth.Options.BackupState = false, false
	_, err = w.login(b)
	w.want(err, problem.AuthInvalid, "a passkey whose eligibility changed")
}

// TestLoginRefuses: each case is a login that would succeed but for one thing.
func TestLoginRefuses(t *testing.T) {
	w := newWorld(t)
	other := newDevice()
	w.enroll(bob, other)
	bobs := other.auth.Options.UserHandle
	for _, c := range []struct {
		name   string
		answer func(d *device, challenge []byte) string
		want   problem.Reason
	}{
		{"positive control", func(d *device, c []byte) string { return d.answer(c) }, problem.OK},
		{"positive control, another origin of the list", func(d *device, c []byte) string {
			d.site.Origin = "https://login.shop.example:8443"
			return d.answer(c)
		}, problem.OK},
		{"wrong origin", func(d *device, c []byte) string {
			d.site.Origin = "https://shop.example.evil.test"
			return d.answer(c)
		}, problem.AuthInvalid},
		{"origin below the RP ID, not on the list", func(d *device, c []byte) string {
			d.site.Origin = "https://evil.shop.example"
			return d.answer(c)
		}, problem.AuthInvalid},
		{"another port", func(d *device, c []byte) string { d.site.Origin = origin + ":444"; return d.answer(c) }, problem.AuthInvalid},
		{"http", func(d *device, c []byte) string { d.site.Origin = "http://shop.example"; return d.answer(c) }, problem.AuthInvalid},
		{"origin in another spelling", func(d *device, c []byte) string { d.site.Origin = "https://SHOP.example"; return d.answer(c) }, problem.AuthInvalid},
		{"origin with a user name", func(d *device, c []byte) string { d.site.Origin = "https://x@shop.example"; return d.answer(c) }, problem.AuthInvalid},
		{"wrong RP ID", func(d *device, c []byte) string { d.site.ID = "evil.test"; return d.answer(c) }, problem.AuthInvalid},
		{"another challenge", func(d *device, c []byte) string { c[0] ^= 1; return d.answer(c) }, problem.AuthInvalid},
		{"user not verified", func(d *device, c []byte) string { d.auth.Options.UserNotVerified = true; return d.answer(c) }, problem.AuthInvalid},
		{"user not present", func(d *device, c []byte) string { d.auth.Options.UserNotPresent = true; return d.answer(c) }, problem.AuthInvalid},
		{"no user handle", func(d *device, c []byte) string { d.auth.Options.UserHandle = nil; return d.answer(c) }, problem.AuthInvalid},
		{"another user's handle", func(d *device, c []byte) string { d.auth.Options.UserHandle = bobs; return d.answer(c) }, problem.AuthInvalid},
		{"another user's credential", func(d *device, c []byte) string { d.cred.ID = other.cred.ID; return d.answer(c) }, problem.AuthInvalid},
		{"unknown credential", func(d *device, c []byte) string { d.cred.ID = []byte("nobody's"); return d.answer(c) }, problem.AuthInvalid},
		{"another key", func(d *device, c []byte) string { d.cred.Key = other.cred.Key; return d.answer(c) }, problem.AuthInvalid},
		{"tampered signature", func(d *device, c []byte) string { return tamper(d.answer(c), "signature") }, problem.AuthInvalid},
		{"tampered data", func(d *device, c []byte) string { return tamper(d.answer(c), "authenticatorData") }, problem.AuthInvalid},
		{"positive control, client data by hand", func(d *device, c []byte) string {
			return d.craft(clientData(c, nil), d.auth.Options.UserHandle)
		}, problem.OK},
		{"made for a registration", func(d *device, c []byte) string {
			return d.craft(clientData(c, map[string]any{"type": "webauthn.create"}), d.auth.Options.UserHandle)
		}, problem.AuthInvalid},
		{"in a frame of another site", func(d *device, c []byte) string {
			return d.craft(clientData(c, map[string]any{"crossOrigin": true}), d.auth.Options.UserHandle)
		}, problem.AuthInvalid},
		{"in a frame, with its top origin", func(d *device, c []byte) string {
			return d.craft(clientData(c, map[string]any{"crossOrigin": true, "topOrigin": origin}), d.auth.Options.UserHandle)
		}, problem.AuthInvalid},
		{"positive control, extensions unasked", func(d *device, c []byte) string {
			return strings.Replace(d.answer(c), `"type":"public-key"`, `"type":"public-key","clientExtensionResults":{"appid":false,"credProps":{"rk":true}}`, 1)
		}, problem.OK},
		{"nothing", func(*device, []byte) string { return "" }, problem.AccountInvalid},
		{"null", func(*device, []byte) string { return "null" }, problem.AccountInvalid},
		{"no JSON", func(*device, []byte) string { return "{" }, problem.AccountInvalid},
		{"trailing data", func(d *device, c []byte) string { return d.answer(c) + "{}" }, problem.AccountInvalid},
		{"wrong types", func(*device, []byte) string { return `{"id":1,"rawId":[],"response":"x"}` }, problem.AccountInvalid},
		{"empty response", func(*device, []byte) string { return `{"id":"YQ","rawId":"YQ","type":"public-key","response":{}}` }, problem.AccountInvalid},
		{"too long", func(d *device, c []byte) string { return d.answer(c) + strings.Repeat(" ", 64<<10) }, problem.AccountInvalid},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDevice()
			user := "user-" + strings.ToLower(base64.RawURLEncoding.EncodeToString(d.cred.ID[:6]))
			fac := w.enroll(user, d)
			challenge, session := w.beginLogin()
			spent := w.count("SELECT COUNT(*) FROM factor_challenges")
			r, err := w.finishLogin(session, c.answer(d, challenge))
			if got := problem.ReasonOf(err); got != c.want {
				t.Errorf("%v (%v), want %v", got, err, c.want)
			}
			if (err == nil) != (r.User == user && r.Factor.ID == fac.ID) {
				t.Errorf("result %+v with %v", r, err)
			}
			if err != nil && w.count("SELECT COUNT(*) FROM factor_challenges") != spent {
				t.Error("a refusal spent the challenge")
			}
			if err != nil && w.count("SELECT COUNT(*) FROM factors WHERE user_id = ? AND used_at > 0", user) != 0 {
				t.Error("a refusal counts as a use")
			}
		})
	}
}

func clientData(challenge []byte, change map[string]any) map[string]any {
	m := map[string]any{"type": "webauthn.get", "challenge": base64.RawURLEncoding.EncodeToString(challenge), "origin": origin}
	maps.Copy(m, change)
	return m
}

// tamper changes one bit of a field in the middle of its value.
func tamper(response, field string) string {
	var m map[string]any
	_ = json.Unmarshal([]byte(response), &m)
	in := m["response"].(map[string]any)
	b, _ := base64.RawURLEncoding.DecodeString(in[field].(string))
	b[len(b)-1] ^= 1
	in[field] = base64.RawURLEncoding.EncodeToString(b)
	out, _ := json.Marshal(m)
	return string(out)
}

func TestRegistrationRefuses(t *testing.T) {
	w := newWorld(t)
	taken := newDevice()
	w.enroll(bob, taken)
	none := func(response string) string { // attestation of another format
		var m map[string]any
		_ = json.Unmarshal([]byte(response), &m)
		in := m["response"].(map[string]any)
		b, _ := base64.RawURLEncoding.DecodeString(in["attestationObject"].(string))
		in["attestationObject"] = base64.RawURLEncoding.EncodeToString(bytes.Replace(b, []byte("\x66packed"), []byte("\x63tpm"), 1))
		out, _ := json.Marshal(m)
		return string(out)
	}
	for _, c := range []struct {
		name   string
		change func(d *device, o *va.AttestationOptions)
		after  func(string) string
		label  string
		want   problem.Reason
	}{
		{"positive control", nil, nil, "a key", problem.OK},
		{"positive control, without attestation", nil, withoutAttestation, "a key", problem.OK},
		{"wrong origin", func(d *device, _ *va.AttestationOptions) { d.site.Origin = "https://evil.test" }, nil, "a", problem.AuthInvalid},
		{"http", func(d *device, _ *va.AttestationOptions) { d.site.Origin = "http://shop.example" }, nil, "a", problem.AuthInvalid},
		{"wrong RP ID", func(d *device, _ *va.AttestationOptions) { d.site.ID = "evil.test" }, nil, "a", problem.AuthInvalid},
		{"another challenge", func(_ *device, o *va.AttestationOptions) { o.Challenge[3] ^= 1 }, nil, "a", problem.AuthInvalid},
		{"user not verified", func(d *device, _ *va.AttestationOptions) { d.auth.Options.UserNotVerified = true }, nil, "a", problem.AuthInvalid},
		{"backed up, yet not eligible", func(d *device, _ *va.AttestationOptions) { d.auth.Options.BackupState = true }, nil, "a", problem.AuthInvalid},
		{"credential of another user", func(d *device, _ *va.AttestationOptions) { d.cred.ID = taken.cred.ID }, nil, "a", problem.AccountExists},
		{"attestation that was not asked for", nil, none, "a", problem.AccountInvalid},
		{"attestation cut short", nil, func(s string) string {
			return strings.Replace(s, `"attestationObject":"o2`, `"attestationObject":"o3`, 1)
		}, "a", problem.AccountInvalid},
		{"attestation with certificates", nil, func(s string) string { return restate(s, "x5c") }, "a", problem.AccountInvalid},
		{"attestation with another's key", nil, func(s string) string { return restate(s, "ecdaaKeyId") }, "a", problem.AccountInvalid},
		{"RSA of 4096 bits, positive control", nil, func(s string) string { return withRSA(s, 4096) }, "a", problem.OK},
		{"RSA of 8192 bits", nil, func(s string) string { return withRSA(s, 8192) }, "a", problem.AccountInvalid},
		{"RSA of 262144 bits", nil, func(s string) string { return withRSA(s, 1<<18) }, "a", problem.AccountInvalid},
		{"nothing", nil, func(string) string { return "" }, "a", problem.AccountInvalid},
		{"an answer to a login", nil, func(string) string { return taken.answer([]byte("0123456789abcdef0123456789abcdef")) }, "a", problem.AccountInvalid},
		{"too long", nil, func(s string) string { return s + strings.Repeat(" ", 64<<10) }, "a", problem.AccountInvalid},
		{"no name", nil, nil, " ", problem.AccountInvalid},
		{"a name of 65 characters", nil, nil, strings.Repeat("ä", 65), problem.AccountInvalid},
		{"a name that does not print", nil, nil, "a\u202eb", problem.AccountInvalid},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := w.count("SELECT COUNT(*) FROM factors")
			d := newDevice()
			options, session := w.begin(alice)
			if c.change != nil {
				c.change(d, options)
			}
			response := va.CreateAttestationResponse(d.site, d.auth, d.cred, *options)
			if c.after != nil {
				response = c.after(response)
			}
			_, err := w.register(alice, session, response, c.label)
			if got := problem.ReasonOf(err); got != c.want {
				t.Errorf("%v (%v), want %v", got, err, c.want)
			}
			if n := w.count("SELECT COUNT(*) FROM factors") - before; (err == nil) != (n == 1) {
				t.Errorf("%d factors more, with %v", n, err)
			}
		})
	}
}

// withRSA puts an RSA key of so many bits into a registration without attestation:
// who verifies a signature of it takes time that grows with the square of them.
func withRSA(response string, bits int) string {
	return reattest(response, func(authData []byte) []byte {
		const upToID = 32 + 1 + 4 + 16 + 2 // RP ID hash, flags, counter, AAGUID, length
		authData = bytes.Clone(authData[:upToID+32])
		modulus := bytes.Repeat([]byte{0xff}, bits/8)
		authData = append(authData, "\xa4\x01\x03\x03\x39\x01\x00\x20\x59"...)                       // kty RSA, alg RS256, n
		authData = append(binary.BigEndian.AppendUint16(authData, uint16(len(modulus))), modulus...) // #nosec G115 -- 32 KiB at most
		authData = append(authData, "\x21\x43\x01\x00\x01"...)                                       // e
		out := []byte("\xa3\x63fmt\x64none\x67attStmt\xa0\x68authData\x59")
		return append(binary.BigEndian.AppendUint16(out, uint16(len(authData))), authData...) // #nosec G115
	})
}

// restate adds a field to a packed attestation: an empty list.
func restate(response, field string) string {
	var m map[string]any
	_ = json.Unmarshal([]byte(response), &m)
	in := m["response"].(map[string]any)
	b, _ := base64.RawURLEncoding.DecodeString(in["attestationObject"].(string))
	more := append([]byte{0xa3, 0x60 + byte(len(field))}, field...)
	b = bytes.Replace(b, []byte("\x67attStmt\xa2"), append([]byte("\x67attStmt"), append(more, 0x80)...), 1)
	in["attestationObject"] = base64.RawURLEncoding.EncodeToString(b)
	out, _ := json.Marshal(m)
	return string(out)
}

// A session is good for its own ceremony, its own user, and ten minutes.
func TestSessionsAreBound(t *testing.T) {
	w := newWorld(t)
	a, b := newDevice(), newDevice()
	w.enroll(alice, a)
	w.enroll(bob, b)

	challenge, login := w.beginLogin()
	options, assert := w.beginAssert(alice)
	_, err := w.finishAssert(alice, login, a.answer(challenge))
	w.want(err, problem.AuthInvalid, "a login's session as an assertion's")
	_, err = w.finishLogin(assert, a.answer(options.Challenge))
	w.want(err, problem.AuthInvalid, "an assertion's session as a login's")
	_, err = w.finishAssert(bob, assert, b.answer(options.Challenge))
	w.want(err, problem.AuthInvalid, "alice's session as bob's")
	_, err = w.finishLogin([]byte("{"), a.answer(challenge))
	w.want(err, problem.AuthInvalid, "a session that is none")
	_, err = w.finishLogin([]byte("{}"), a.answer(challenge))
	w.want(err, problem.AuthInvalid, "an empty session")
	attestation, register := w.begin(alice)
	_, err = w.register(bob, register, va.CreateAttestationResponse(a.site, newDevice().auth, newDevice().cred, *attestation), "x")
	w.want(err, problem.AuthInvalid, "alice's registration as bob's")

	w.pass(10*time.Minute - time.Second)
	_, err = w.finishLogin(login, a.answer(challenge))
	w.want(err, problem.OK, "positive control, just in time")
	w.pass(time.Second)
	_, err = w.finishAssert(alice, assert, a.answer(options.Challenge))
	w.want(err, problem.AuthExpired, "a second late")
}

func TestAssert(t *testing.T) {
	w := newWorld(t)
	a, second, b := newDevice(), newDevice(), newDevice()
	w.enroll(alice, a)
	w.enroll(alice, second)
	w.enroll(bob, b)
	options, session := w.beginAssert(alice)
	if len(options.AllowCredentials) != 2 {
		t.Errorf("allowed %v, want alice's two", options.AllowCredentials)
	}
	_, err := w.finishAssert(alice, session, b.answer(options.Challenge))
	w.want(err, problem.AuthInvalid, "another user's passkey")
	second.auth.Options.UserHandle = nil // need not be told where the user is known
	r, err := w.finishAssert(alice, session, second.answer(options.Challenge))
	if err != nil || r.User != alice || !r.Verified {
		t.Errorf("assert: %+v, %v", r, err)
	}

	options, session = w.beginAssert(alice)
	a.auth.Options.UserNotVerified = true
	if r, err = w.finishAssert(alice, session, a.answer(options.Challenge)); err != nil || r.Verified {
		t.Errorf("assert without user verification: %+v, %v, want accepted and not verified", r, err)
	}
	err = w.change(func(ctx context.Context, tx *store.Tx) error {
		_, _, err := w.BeginAssert(ctx, tx, "nobody")
		return err
	})
	w.want(err, problem.AccountInvalid, "a user without passkeys")
}

// A challenge is answered once, also when the same answer comes twice or many
// answers come at once.
func TestChallengeIsSpent(t *testing.T) {
	w := newWorld(t)
	d := newDevice()
	w.enroll(alice, d)
	challenge, session := w.beginLogin()
	response := d.answer(challenge)
	var mu sync.Mutex
	won := 0
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			_, err := w.finishLogin(session, response)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				won++
			} else if problem.ReasonOf(err) != problem.AuthInvalid {
				t.Errorf("an answer that lost: %v, want auth.invalid", err)
			}
		})
	}
	wg.Wait()
	if won != 1 {
		t.Errorf("%d of 8 answers to one challenge won, want 1", won)
	}
	_, other := w.beginLogin()
	_, err := w.finishLogin(other, response)
	w.want(err, problem.AuthInvalid, "the answer replayed to another challenge")

	// A registration too, though its passkey was removed meanwhile.
	options, session := w.begin(alice)
	next := newDevice()
	made := va.CreateAttestationResponse(next.site, next.auth, next.cred, *options)
	fac, err := w.register(alice, session, made, "x")
	w.must(err)
	w.must(w.change(func(ctx context.Context, tx *store.Tx) error { _, err := w.Remove(ctx, tx, alice, fac.ID); return err }))
	_, err = w.register(alice, session, made, "x")
	w.want(err, problem.AuthInvalid, "a registration replayed")

	// What is spent is not kept for ever.
	w.pass(time.Hour)
	if _, err := w.login(d); err != nil {
		t.Fatal(err)
	}
	if n := w.count("SELECT COUNT(*) FROM factor_challenges"); n != 1 {
		t.Errorf("%d challenges kept, want 1", n)
	}
}

func TestRemovedPasskeyIsRefused(t *testing.T) {
	w := newWorld(t)
	d := newDevice()
	fac := w.enroll(alice, d)
	challenge, session := w.beginLogin()
	options, assertion := w.beginAssert(alice)
	w.must(w.change(func(ctx context.Context, tx *store.Tx) error { _, err := w.Remove(ctx, tx, alice, fac.ID); return err }))
	_, err := w.finishLogin(session, d.answer(challenge))
	w.want(err, problem.AuthInvalid, "login by a passkey removed meanwhile")
	_, err = w.finishAssert(alice, assertion, d.answer(options.Challenge))
	w.want(err, problem.AuthInvalid, "assertion of a passkey removed meanwhile")
}

func TestCounterRegressionIsTold(t *testing.T) {
	w := newWorld(t)
	d := newDevice()
	d.cred.Counter = 10
	w.enroll(alice, d)
	at := func(counter uint32) factor.Result {
		t.Helper()
		d.cred.Counter = counter - 1 // answer adds one
		r, err := w.login(d)
		if err != nil {
			t.Fatalf("login with counter %d: %v", counter, err)
		}
		return r
	}
	for _, c := range []struct {
		counter uint32
		cloned  bool
	}{{11, false}, {20, false}, {20, true}, {12, true}, {1, true}, {21, false}, {1<<32 - 1, false}} {
		if r := at(c.counter); r.Cloned != c.cloned {
			t.Errorf("counter %d: cloned %v, want %v", c.counter, r.Cloned, c.cloned)
		}
	}
	zero := newDevice() // most synchronised passkeys never count
	w.enroll(bob, zero)
	for range 2 {
		zero.cred.Counter = 1<<32 - 1 // and one is zero
		if r, err := w.login(zero); err != nil || r.Cloned {
			t.Errorf("counter always zero: %+v, %v", r, err)
		}
	}
}

// A row planted or moved in the database opens no account.
func TestPlantedPasskeyDoesNotOpen(t *testing.T) {
	w := newWorld(t)
	a, b := newDevice(), newDevice()
	fa := w.enroll(alice, a)
	w.enroll(bob, b)
	w.exec("UPDATE factors SET user_id = ? WHERE id = ?", bob, fa.ID)
	a.auth.Options.UserHandle = b.auth.Options.UserHandle
	if r, err := w.login(a); err == nil {
		t.Errorf("a passkey moved to another user logged in: %+v", r)
	}
	w.exec("UPDATE factors SET user_id = ? WHERE id = ?", alice, fa.ID)
	if _, err := w.login(b); err != nil {
		t.Errorf("positive control: %v", err)
	}
}

func TestPasskeysAreBounded(t *testing.T) {
	w := newWorld(t)
	_, session := w.begin(alice)
	for range 20 {
		w.enroll(alice, newDevice())
	}
	err := w.change(func(ctx context.Context, tx *store.Tx) error {
		_, _, err := w.BeginRegistration(ctx, tx, alice, "a")
		return err
	})
	w.want(err, problem.AccountInvalid, "the 21st passkey")
	_ = session
	w.enroll(bob, newDevice()) // another user has room
}
