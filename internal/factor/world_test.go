package factor_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	va "github.com/descope/virtualwebauthn"

	"sallyport.dev/internal/factor"
	"sallyport.dev/internal/keys"
	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/store"
	"sallyport.dev/internal/store/pgtest"
)

const (
	rpID   = "shop.example"
	origin = "https://shop.example"
	alice  = "0b5a3a0e-6a1c-4b53-9a57-7a3a31a0a001"
	bob    = "0b5a3a0e-6a1c-4b53-9a57-7a3a31a0b002"
)

// world is the factors of a zone on a real database and a clock that only tests move.
type world struct {
	*factor.Factors
	t      testing.TB
	db     *store.DB
	root   *keys.Root
	path   string
	config factor.Config

	mu  sync.Mutex
	now time.Time
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, path: filepath.Join(t.TempDir(), "store.db"), now: time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)}
	empty, err := emptyDatabase()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(w.path, empty, 0o600); err != nil {
		t.Fatal(err)
	}
	if w.db, err = pgtest.OpenAt(t, w.path); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.db.Close() })
	if w.root, err = keys.OpenRoot(filepath.Join(t.TempDir(), "root"), true); err != nil {
		t.Fatal(err)
	}
	w.config = factor.Config{DB: w.db, Root: w.root, Zone: "shop.example", Clock: w.clock, RPID: rpID,
		Origins: []string{origin, "https://login.shop.example:8443"}}
	if w.Factors, err = factor.New(t.Context(), w.config); err != nil {
		t.Fatal(err)
	}
	return w
}

// emptyDatabase is a migrated database without rows: to migrate one for every
// test would take most of the time.
var emptyDatabase = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "factor")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	path := filepath.Join(dir, "store.db")
	db, err := store.OpenSQLite(context.Background(), path)
	if err != nil {
		return nil, err
	}
	if err := db.Close(); err != nil { // the write-ahead log goes into the file
		return nil, err
	}
	return os.ReadFile(path) // #nosec G304 -- of the test
})

func (w *world) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

// change runs fn in a transaction that ends well whatever fn answers, as that of
// a caller who counts wrong answers in it.
func (w *world) change(fn func(ctx context.Context, tx *store.Tx) error) error {
	var answer error
	err := w.db.Tx(w.t.Context(), func(ctx context.Context, tx *store.Tx) error {
		answer = fn(ctx, tx)
		if _, ok := errors.AsType[*problem.Error](answer); ok {
			return nil
		}
		return answer
	})
	if err != nil {
		return err
	}
	return answer
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// want compares the reason of an error.
func (w *world) want(err error, reason problem.Reason, what string) {
	w.t.Helper()
	if got := problem.ReasonOf(err); got != reason {
		w.t.Errorf("%s: %v (%v), want %v", what, got, err, reason)
	}
}

func (w *world) count(query string, args ...any) (n int) {
	w.t.Helper()
	w.must(w.db.View(w.t.Context(), func(ctx context.Context, tx *store.Tx) error {
		return tx.QueryRow(ctx, query, args...).Scan(&n)
	}))
	return n
}

func (w *world) exec(query string, args ...any) {
	w.t.Helper()
	w.must(w.db.Tx(w.t.Context(), func(ctx context.Context, tx *store.Tx) error {
		n, err := tx.Exec(ctx, query, args...)
		if err == nil && n == 0 {
			return errors.New("no row was changed")
		}
		return err
	}))
}

// device is an authenticator with one credential.
type device struct {
	auth va.Authenticator
	cred va.Credential
	site va.RelyingParty // where its browser is
}

func newDevice() *device {
	d := &device{auth: va.NewAuthenticator(), site: va.RelyingParty{ID: rpID, Name: "shop", Origin: origin}}
	// One key in 128 has a coordinate that starts with zero, which this
	// authenticator leaves out: no real one does (RFC 9053 section 7.1.1).
	for len(d.cred.ID) == 0 || len(d.cred.Key.AttestationData()) != 77 {
		d.cred = va.NewCredential(va.KeyTypeEC2)
	}
	return d
}

// begin starts a registration.
func (w *world) begin(user string) (options *va.AttestationOptions, session []byte) {
	w.t.Helper()
	w.must(w.change(func(ctx context.Context, tx *store.Tx) error {
		o, s, err := w.BeginRegistration(ctx, tx, user, "user@shop.example")
		if err != nil {
			return err
		}
		session = s
		options, err = va.ParseAttestationOptions(string(o))
		return err
	}))
	return options, session
}

func (w *world) register(user string, session []byte, response, name string) (fac factor.Factor, err error) {
	err = w.change(func(ctx context.Context, tx *store.Tx) error {
		fac, err = w.FinishRegistration(ctx, tx, user, session, []byte(response), name)
		return err
	})
	return fac, err
}

// enroll registers a device for a user.
func (w *world) enroll(user string, d *device) factor.Factor {
	w.t.Helper()
	options, session := w.begin(user)
	d.auth.Options.UserHandle = []byte(options.UserID)
	fac, err := w.register(user, session, va.CreateAttestationResponse(d.site, d.auth, d.cred, *options), "my key")
	w.must(err)
	return fac
}

// beginLogin starts a login by passkey alone.
func (w *world) beginLogin() (challenge, session []byte) {
	w.t.Helper()
	options, session, err := w.BeginLogin(w.t.Context())
	w.must(err)
	parsed, err := va.ParseAssertionOptions(string(options))
	w.must(err)
	return parsed.Challenge, session
}

func (w *world) finishLogin(session []byte, response string) (r factor.Result, err error) {
	err = w.change(func(ctx context.Context, tx *store.Tx) error {
		r, err = w.FinishLogin(ctx, tx, session, []byte(response))
		return err
	})
	return r, err
}

// login walks a whole login.
func (w *world) login(d *device) (factor.Result, error) {
	w.t.Helper()
	challenge, session := w.beginLogin()
	return w.finishLogin(session, d.answer(challenge))
}

func (w *world) beginAssert(user string) (options *va.AssertionOptions, session []byte) {
	w.t.Helper()
	w.must(w.change(func(ctx context.Context, tx *store.Tx) error {
		o, s, err := w.BeginAssert(ctx, tx, user)
		if err != nil {
			return err
		}
		session = s
		options, err = va.ParseAssertionOptions(string(o))
		return err
	}))
	return options, session
}

func (w *world) finishAssert(user string, session []byte, response string) (r factor.Result, err error) {
	err = w.change(func(ctx context.Context, tx *store.Tx) error {
		r, err = w.FinishAssert(ctx, tx, user, session, []byte(response))
		return err
	})
	return r, err
}

// answer is the device's honest answer to a challenge.
func (d *device) answer(challenge []byte) string {
	d.cred.Counter++
	return va.CreateAssertionResponse(d.site, d.auth, d.cred, va.AssertionOptions{Challenge: challenge, RelyingPartyID: d.site.ID})
}

// craft is an answer whose client data is given word by word, well signed.
func (d *device) craft(clientData map[string]any, handle []byte) string {
	d.cred.Counter++
	client, _ := json.Marshal(clientData)
	rp := sha256.Sum256([]byte(d.site.ID))
	data := binary.BigEndian.AppendUint32(append(rp[:], 0x05), d.cred.Counter) // present, verified
	hash := sha256.Sum256(client)
	digest := sha256.Sum256(append(append([]byte{}, data...), hash[:]...))
	signature, err := d.cred.Key.Sign(digest[:])
	if err != nil {
		panic(err)
	}
	enc := base64.RawURLEncoding.EncodeToString
	out, _ := json.Marshal(map[string]any{"type": "public-key", "id": enc(d.cred.ID), "rawId": enc(d.cred.ID),
		"response": map[string]any{"clientDataJSON": enc(client), "authenticatorData": enc(data), "signature": enc(signature), "userHandle": enc(handle)}})
	return string(out)
}

// withoutAttestation writes an attestation as browsers do that were asked for
// none: format none, and no statement.
func withoutAttestation(response string) string {
	return reattest(response, func(authData []byte) []byte {
		out := append([]byte{0xa3, 0x63}, "fmt\x64none\x67attStmt\xa0\x68authData\x59"...)
		out = binary.BigEndian.AppendUint16(out, uint16(len(authData))) // #nosec G115 -- some hundred bytes
		return append(out, authData...)
	})
}

func reattest(response string, write func(authData []byte) []byte) string {
	var m map[string]any
	_ = json.Unmarshal([]byte(response), &m)
	in := m["response"].(map[string]any)
	b, _ := base64.RawURLEncoding.DecodeString(in["attestationObject"].(string))
	_, data, _ := bytes.Cut(b, []byte("\x68authData"))
	switch data[0] { // a string of bytes with a length of one byte or two
	case 0x58:
		data = data[2 : 2+int(data[1])]
	case 0x59:
		data = data[3 : 3+int(binary.BigEndian.Uint16(data[1:]))]
	}
	in["attestationObject"] = base64.RawURLEncoding.EncodeToString(write(data))
	out, _ := json.Marshal(m)
	return string(out)
}
