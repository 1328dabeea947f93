package identity

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	va "github.com/descope/virtualwebauthn"
	"github.com/pquerna/otp/totp"

	"sallyport.dev/internal/factor"
	"sallyport.dev/internal/store"
)

// giveApp makes an authenticator app for a user and returns its secret.
func (w *world) giveApp(user string) string {
	w.t.Helper()
	begun, err := w.id.factors.BeginTOTP(user, "account", "")
	if err != nil {
		w.t.Fatal(err)
	}
	secret := strings.ReplaceAll(string(begun.Secret), " ", "")
	err = w.db.Tx(w.t.Context(), func(ctx context.Context, t *store.Tx) error {
		_, outcome, err := w.id.factors.EnableTOTP(ctx, t, user, begun.Sealed, w.code(secret), "phone")
		if outcome != factor.Right {
			w.t.Errorf("the first code is %v", outcome)
		}
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.now.advance(2 * 30e9) // the step of that code is spent
	return secret
}

// code is what an app shows now.
func (w *world) code(secret string) string {
	w.t.Helper()
	code, err := totp.GenerateCode(strings.ReplaceAll(secret, " ", ""), w.now.time())
	if err != nil {
		w.t.Fatal(err)
	}
	return code
}

// wrong is a code that no app shows now.
func (w *world) wrong(secret string) string {
	code := []byte(w.code(secret))
	code[0] = '0' + (code[0]-'0'+5)%10
	return string(code)
}

func (w *world) giveCodes(user string) []string {
	w.t.Helper()
	var codes []string
	err := w.db.Tx(w.t.Context(), func(ctx context.Context, t *store.Tx) error {
		made, err := w.id.factors.NewCodes(ctx, t, user)
		for _, c := range made {
			codes = append(codes, string(c))
		}
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return codes
}

// answer is any answer in JSON of the operations under test.
type answer struct {
	Step      string          `json:"step"`
	Flow      string          `json:"flow"`
	Factors   json.RawMessage `json:"factors"`
	Token     string          `json:"token"`
	DeleteAt  string          `json:"delete_at"`
	User      userJSON        `json:"user"`
	Codes     []string        `json:"recovery_codes"`
	Secret    string          `json:"secret"`
	URI       string          `json:"uri"`
	QR        string          `json:"qr"`
	Options   json.RawMessage `json:"options"`
	Factor    factorJSON      `json:"factor"`
	CodesLeft int             `json:"recovery_codes_left"`
	Required  bool            `json:"required"`
	Password  bool            `json:"password"`
}

// want reads an answer and fails unless it has a status.
func (w *world) want(rec *httptest.ResponseRecorder, status int, what string) answer {
	w.t.Helper()
	var a answer
	if rec.Code != status {
		w.t.Fatalf("%s: %d %s %s, want %d", what, rec.Code, reason(rec), rec.Body, status)
	}
	if strings.HasPrefix(rec.Header().Get("Content-Type"), jsonType) {
		if err := json.Unmarshal(rec.Body.Bytes(), &a); err != nil {
			w.t.Fatalf("%s: %v in %s", what, err, rec.Body)
		}
	}
	return a
}

// refused fails unless an answer has a reason.
func (w *world) refused(rec *httptest.ResponseRecorder, want, what string) {
	w.t.Helper()
	if reason(rec) != want || rec.Code < 400 {
		w.t.Errorf("%s: %d %s %s, want %s", what, rec.Code, reason(rec), rec.Body, want)
	}
}

// as posts JSON with a session.
func (w *world) as(token, path, body string) *httptest.ResponseRecorder {
	w.t.Helper()
	return w.do(ask{method: "POST", path: path, body: body, token: token, header: map[string]string{"Content-Type": jsonType}})
}

// object writes a JSON object of texts and raw values.
func object(pairs ...any) string {
	m := map[string]any{}
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i].(string)] = pairs[i+1]
	}
	b, _ := json.Marshal(m)
	return string(b)
}

// first logs in with a password and returns the step that is left.
func (w *world) first(email string) answer {
	w.t.Helper()
	return w.want(w.post("/auth/login", credentialsJSON(email, goodPassword)), 200, "login of "+email)
}

// passkeyOf is an authenticator with one credential.
type passkeyOf struct {
	auth va.Authenticator
	cred va.Credential
	site va.RelyingParty
}

func newPasskey() *passkeyOf {
	p := &passkeyOf{auth: va.NewAuthenticator(), site: va.RelyingParty{ID: "shop.example", Name: "shop", Origin: "https://shop.example"}}
	for len(p.cred.ID) == 0 || len(p.cred.Key.AttestationData()) != 77 { // see package factor's tests
		p.cred = va.NewCredential(va.KeyTypeEC2)
	}
	return p
}

// made is the answer to the options of a registration.
func (p *passkeyOf) made(t testing.TB, options []byte) json.RawMessage {
	t.Helper()
	o, err := va.ParseAttestationOptions(string(options))
	if err != nil {
		t.Fatal(err)
	}
	p.auth.Options.UserHandle = []byte(o.UserID)
	return json.RawMessage(va.CreateAttestationResponse(p.site, p.auth, p.cred, *o))
}

// shown is the answer to the options of a login.
func (p *passkeyOf) shown(t testing.TB, options []byte) json.RawMessage {
	t.Helper()
	o, err := va.ParseAssertionOptions(string(options))
	if err != nil {
		t.Fatal(err)
	}
	p.cred.Counter++
	return json.RawMessage(va.CreateAssertionResponse(p.site, p.auth, p.cred, va.AssertionOptions{Challenge: o.Challenge, RelyingPartyID: p.site.ID}))
}

// givePasskey makes a passkey for who has a session.
func (w *world) givePasskey(token string) *passkeyOf {
	w.t.Helper()
	p := newPasskey()
	begun := w.want(w.as(token, "/auth/factors/passkey/begin", "{}"), 200, "begin a passkey")
	w.want(w.as(token, "/auth/factors/passkey", object("flow", begun.Flow, "response", p.made(w.t, begun.Options), "name", "key")), 201, "make a passkey")
	return p
}

// cookieNamed returns a cookie that an answer sets.
func cookieNamed(rec *httptest.ResponseRecorder, name string) *http.Cookie {
	for _, c := range rec.Result().Cookies() {
		if c.Name == name {
			return c
		}
	}
	return nil
}

// flowIn returns the flow that a page carries.
func flowIn(page string) string {
	_, rest, _ := strings.Cut(page, `name="flow" value="`)
	flow, _, _ := strings.Cut(rest, `"`)
	return flow
}

func isFlow(s string) bool {
	b, err := base64.RawURLEncoding.DecodeString(s)
	return err == nil && len(b) == 32
}

// exec changes a row past the account service.
func (w *world) exec(query string, args ...any) {
	w.t.Helper()
	err := w.db.Tx(w.t.Context(), func(ctx context.Context, t *store.Tx) error {
		_, err := t.Exec(ctx, query, args...)
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
}
