package page

import (
	"flag"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"sallyport.dev/internal/obs"
	"sallyport.dev/internal/problem"
	"sallyport.dev/zone"
)

// samplesFolder is where TestSamples leaves every page, to look at in a browser.
var samplesFolder = flag.String("samples", "", "folder for the sample pages; empty: none are written")

var now = time.Date(2026, 10, 17, 12, 0, 0, 0, time.UTC)

func newPages(t testing.TB, theme string) *Pages {
	t.Helper()
	z := &zone.Zone{Name: "shop"}
	z.Identity.Theme = theme
	p, err := New(Config{Zone: z, Clock: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// qr stands in for a real code.
const qr = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 29 29" role="img" aria-label="QR &amp; code" shape-rendering="crispEdges"><title>QR &amp; code</title>` +
	`<rect width="29" height="29" fill="#fff"/><path fill="#000" d="M4 4h7v1h-7zM4 5h1v6h-1zM10 5h1v6h-1zM5 10h5v1h-5zM6 6h3v3h-3zM18 4h7v1h-7zM18 5h1v6h-1zM24 5h1v6h-1zM19 10h5v1h-5zM20 6h3v3h-3zM4 18h7v1h-7zM4 19h1v6h-1zM10 19h1v6h-1zM5 24h5v1h-5zM6 20h3v3h-3zM13 5h1v3h-1zM15 8h2v2h-2zM13 13h4v3h-4zM19 14h5v2h-5zM16 19h3v4h-3zM21 20h4v2h-4z"/></svg>`

var totp = TOTP{Flow: "flow-1", Secret: "JBSW Y3DP EHPK 3PXP JBSW Y3DP EHPK 3PXP", URI: "otpauth://totp/shop:ada@shop.example?secret=JBSWY3DPEHPK3PXP&issuer=shop", QR: qr}

var providers = []ProviderButton{{Name: "google", Title: "Google"}, {Name: "corp", Title: "Example & Sons"}}

// samples are all pages with every part of them shown.
func samples() map[string]View {
	day := 24 * time.Hour
	return map[string]View{
		"login":            Login{Email: "ada@shop.example", Remember: true, Next: "/orders?x=1&y=2", Notice: "verified", Passkeys: true, Providers: providers, Recover: true, Register: true},
		"login-passkey":    Login{Passkeys: true},
		"login-plain":      Login{LoggedOut: true},
		"mfa":              MFA{Flow: "flow-1", Factors: []string{"passkey", "totp", "recovery"}, Next: "/orders", Email: "ada@shop.example"},
		"mfa-app":          MFA{Flow: "flow-1", Factors: []string{"totp", "recovery"}, Next: "/orders", StepUp: true},
		"mfa-recovery":     MFA{Flow: "flow-1", Factors: []string{"recovery"}},
		"step-up":          MFA{Flow: "flow-1", Factors: []string{"totp"}, Next: "/auth/account", StepUp: true, Password: true, Email: "ada@shop.example"},
		"enroll":           Enroll{Flow: "flow-1", TOTP: &totp, Next: "/orders"},
		"register":         Register{Email: "ada@shop.example", Next: "/orders", MinLength: 15, Providers: providers},
		"sent-register":    Sent{Kind: "register", Email: "ada@shop.example"},
		"sent-recover":     Sent{Kind: "recover", Email: "ada@shop.example"},
		"sent-email":       Sent{Kind: "email", Email: "ada@shop.example"},
		"verify-register":  Verify{Kind: "register", Token: "t0k3n", Email: "ada@shop.example"},
		"verify-invite":    Verify{Kind: "invite", Token: "t0k3n", Email: "ada@shop.example", Password: true, MinLength: 8},
		"verify-email":     Verify{Kind: "email", Token: "t0k3n", Email: "ada@new.example"},
		"recover":          Recover{Email: "ada@shop.example"},
		"password":         Password{Email: "ada@shop.example", Current: true, Expired: true, MinLength: 15, Next: "/auth/account"},
		"password-reset":   Password{Token: "t0k3n", Email: "ada@shop.example", MinLength: 8},
		"password-aged":    Password{Flow: "flow-1", Email: "ada@shop.example", Expired: true, MinLength: 15},
		"password-change":  Password{Email: "ada@shop.example", Current: true, MinLength: 15},
		"account":          sampleAccount(),
		"account-new":      Account{ID: "usr_7xk2", Email: "ada@shop.example", HasPassword: true, PasswordAt: now.Add(-time.Hour), Sessions: sampleAccount().Sessions[:1]},
		"totp":             NewTOTP{TOTP: totp, Next: "/auth/account"},
		"passkey":          NewPasskey{Next: "/auth/account"},
		"codes":            Codes{Codes: strings.Fields("k4wd-7qzm-x2pn p9rt-3fjh-c6vb m2ns-8yke-w5qa t7gx-4dcu-z9rh h3bv-6mpj-n8ws f5qe-9tka-y2xd c8zr-2wgn-p4mt v6jh-5xsq-k7fe r4un-3bcy-g9pw x7dm-8hva-j2zk"), Next: "/auth/account"},
		"key":              NewKey{Name: "nightly-backup", Scopes: []Choice{{Value: "orders:read", Title: "Read orders", Chosen: true}, {Value: "orders:write"}, {Value: "email"}}, Expires: "90"},
		"key-made":         KeyMade{ID: "key_5wq2", Name: "nightly-backup", Secret: "spk_5wq2h8r3_Zk9mQe7xT2vB6nW4yLc8pD1sFgHjKaRu_9f3c", Expires: now.Add(90 * day)},
		"key-made-signing": KeyMade{ID: "sig_5wq2", Name: "nightly-backup", Secret: "Zk9mQe7xT2vB6nW4yLc8pD1sFgHjKaRuZk9mQe7xT2v", Signing: true},
		"email":            Email{Email: "ada@shop.example", New: "ada@new.example"},
		"delete":           Delete{Email: "ada@shop.example", At: now.Add(14 * day), Days: 14},
		"link":             Link{Provider: "google", Title: "Google", Email: "ada@shop.example", Flow: "flow-1"},
		"bootstrap":        Bootstrap{Token: "t0k3n", Email: "ada@shop.example", MinLength: 15},
		"bootstrap-typed":  Bootstrap{MinLength: 15},
		"consent":          Consent{Flow: "flow-1", Client: "reports", Title: "Quarterly Reports", Email: "ada@shop.example", Host: "reports.example", Scopes: []string{"openid", "profile", "email", "offline_access", "orders:read"}},
		"consent-device":   Consent{Flow: "flow-1", Client: "tv", Title: "Shop on TV", Email: "ada@shop.example", Scopes: []string{"openid", "orders:read"}, Device: true, Place: "203.0.113.7"},
		"device":           Device{Code: "WDJB-MJHT"},
		"device-done":      DeviceDone{Allowed: true},
		"logout":           LogoutAsk{Flow: "flow-1", Client: "Quarterly Reports"},
		"logged-out":       LoggedOut{Title: "Quarterly Reports"},
		"message":          Message{Title: "title.verify.invite", Text: "sent.wait", Link: "/auth/login", LinkText: "login.submit"},
	}
}

func sampleAccount() Account {
	day := 24 * time.Hour
	return Account{
		ID: "usr_7xk2m9qe4r", Email: "ada@shop.example", Name: "Ada Lovelace", Locale: "en",
		Locales: []Choice{{Value: "", Title: "As my browser says"}, {Value: "en", Title: "English", Chosen: true}, {Value: "de", Title: "Deutsch"}},
		Roles:   []string{"admin", "orders:clerk"}, Notice: "profile_saved", HasPassword: true, PasswordAt: now.Add(-40 * day), Mail: true,
		Factors: []Factor{
			{ID: "fac_1", Kind: "passkey", Name: "Work laptop", Created: now.Add(-90 * day), Used: now.Add(-3 * time.Hour)},
			{ID: "fac_2", Kind: "totp", Created: now.Add(-300 * day)},
		},
		RecoveryLeft: 9, RecoveryMade: true, MFARequired: true,
		Sessions: []Session{
			{ID: "ses_1", Device: "Firefox on Linux", Client: "203.0.113.7", Method: "password", Level: 2, Current: true, Created: now.Add(-2 * day), Used: now, Expires: now.Add(day)},
			{ID: "ses_2", Device: "Safari on iPhone", Client: "2001:db8:85a3::8a2e:370:7334", Method: "passkey", Level: 1, Created: now.Add(-20 * day), Used: now.Add(-26 * time.Hour), Expires: now.Add(day)},
		},
		Providers: []Provider{{Name: "google", Title: "Google", Subject: "1180", Email: "ada@gmail.example", Connected: true, Since: now.Add(-50 * day)}, {Name: "corp", Title: "Example & Sons"}},
		Grants:    []Grant{{Client: "reports", Title: "Quarterly Reports", Scopes: []string{"openid", "email", "orders:read"}, Since: now.Add(-9 * day), Used: now.Add(-time.Hour)}, {Client: "old", Since: now.Add(-400 * day)}},
		Keys: []Key{
			{ID: "key_1", Name: "nightly-backup", Scopes: []string{"orders:read"}, Created: now.Add(-30 * day), Expires: now.Add(60 * day), Used: now.Add(-10 * time.Minute), Signing: []SigningKey{{ID: "sig_1", Kind: "ed25519", Expires: now.Add(30 * day)}, {ID: "sig_2", Kind: "hmac-sha256"}}},
			{ID: "key_2", Name: "old", Created: now.Add(-700 * day)},
		},
		KeysAllowed: true, Deleting: now.Add(10 * day),
	}
}

// variants are a view, the same with nothing in it, and with each of its parts
// taken away or turned round, so that every branch of its template is taken.
func variants(v View) []View {
	full := reflect.ValueOf(v)
	list := []View{v, reflect.Zero(full.Type()).Interface().(View)}
	for i := range full.NumField() {
		changed := reflect.New(full.Type()).Elem()
		changed.Set(full)
		if f := changed.Field(i); !f.CanSet() {
			continue
		} else if f.Kind() == reflect.Bool {
			f.SetBool(!f.Bool())
		} else {
			f.SetZero()
		}
		list = append(list, changed.Interface().(View))
	}
	return list
}

// show renders a page as a browser in a language would get it.
func show(t testing.TB, p *Pages, v View, language string, refusal *Refusal, user string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, "/auth/x", nil)
	r.Header.Set("Accept-Language", language)
	ctx := obs.WithRequest(r.Context(), &obs.Request{CorrelationID: "7d3f5c1e-0b52-4d0a-9d4e-2f6f0d2a8c11"})
	if user != "" {
		ctx = WithUser(ctx, user)
	}
	w := httptest.NewRecorder()
	if err := p.Write(w, r.WithContext(ctx), 0, v, refusal); err != nil {
		t.Fatalf("%T in %s, refused %v: %v\n%+v", v, language, refusal != nil, err, v)
	}
	return w
}

// TestSamples writes every page into a folder, when one is given.
func TestSamples(t *testing.T) {
	if *samplesFolder == "" {
		return // nothing is asked for; TestEveryPage looks at the same pages
	}
	p := newPages(t, "")
	pages := samples()
	refusals := map[string]*Refusal{
		"login-refused":    RefusalOf(problem.New(problem.AuthLogin, nil)),
		"register-refused": RefusalOf(problem.WithDetail(problem.AccountPassword, "shorter than 15 characters")),
		"mfa-app-refused":  RefusalOf(problem.New(problem.AccountFactor, nil)),
		"refusal-flow":     RefusalOf(problem.New(problem.AccountFlow, nil)),
		"refusal-internal": RefusalOf(problem.New(problem.InternalError, nil)),
	}
	for name := range refusals {
		if v, ok := pages[strings.TrimSuffix(name, "-refused")]; ok {
			pages[name] = v
		} else {
			pages[name] = refused{CorrelationID: "7d3f5c1e-0b52-4d0a-9d4e-2f6f0d2a8c11"}
		}
	}
	for name, v := range pages {
		for _, language := range p.Languages() {
			body := show(t, p, v, language, refusals[name], "").Body.String()
			for _, a := range p.assets { // as files beside the page
				body = strings.ReplaceAll(body, a.address, a.name)
			}
			write(t, name+"."+language+".html", []byte(body))
		}
	}
	for _, a := range p.assets {
		write(t, a.name, a.content)
	}
}

func write(t *testing.T, name string, content []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(*samplesFolder, name), content, 0o600); err != nil {
		t.Fatal(err)
	}
}
