package identity

import (
	"bytes"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"sallyport.dev/zone"
)

// unlike compares what two logins answered and cost; "" when an attacker could
// not tell them apart by anything but noise (control ID-04).
func unlike(w *world, door http.Handler, a, b *http.Request) string {
	type seen struct {
		status int
		header http.Header
		body   []byte
		cost   string
	}
	look := func(r *http.Request) seen {
		w.count.reset()
		rec := httptest.NewRecorder()
		door.ServeHTTP(rec, r)
		return seen{rec.Code, rec.Header(), rec.Body.Bytes(), w.count.String()}
	}
	x, y := look(a), look(b)
	switch {
	case x.status != y.status:
		return fmt.Sprintf("status %d and %d", x.status, y.status)
	case !maps.EqualFunc(x.header, y.header, slices.Equal):
		return fmt.Sprintf("headers %v and %v", x.header, y.header)
	case !bytes.Equal(x.body, y.body):
		return fmt.Sprintf("bodies %s and %s", x.body, y.body)
	case x.cost != y.cost:
		return fmt.Sprintf("cost: %s and %s", x.cost, y.cost)
	}
	return ""
}

// TestLoginTellsNothing compares refused logins of accounts in every state with
// one of an unknown account, as JSON, as a form without and with a page.
func TestLoginTellsNothing(t *testing.T) {
	w := newWorld(t, openZone())
	w.addUser("ada@shop.example", goodPassword, "admin")
	off := w.addUser("off@shop.example", goodPassword)
	if err := w.id.SetDisabled(t.Context(), off.ID, true); err != nil {
		t.Fatal(err)
	}
	broken := w.addUser("bad@shop.example", goodPassword)
	w.setStoredPassword(broken.ID, "no hash at all")
	two := w.addUser("two@shop.example", goodPassword)
	w.giveApp(two.ID)
	w.giveCodes(two.ID)
	boss := w.addUser("sue@shop.example", goodPassword, AdminRole)
	for _, set := range []string{"delete_at = 1893456000000000", "verified_at = 0"} {
		w.exec("UPDATE users SET "+set+" WHERE id = ?", boss.ID)
	}
	w.addUser("bye@shop.example", goodPassword)
	w.setStoredPassword(w.userID("bye@shop.example"), "")

	for _, how := range []struct{ name, kind, accept string }{
		{"JSON", jsonType, ""}, {"form", formType, ""}, {"page", formType, browser},
	} {
		request := func(email, password string) *http.Request {
			body := credentialsJSON(email, password)
			if how.kind == formType {
				body = "email=" + strings.ReplaceAll(email, "@", "%40") + "&password=" + strings.ReplaceAll(password, " ", "+")
			}
			r := httptest.NewRequest("POST", "https://shop.example/auth/login", strings.NewReader(body))
			r.Header.Set("Content-Type", how.kind)
			r.Header.Set("Accept", how.accept)
			return r
		}
		for _, c := range []struct{ name, email, password string }{
			{"known, wrong password", "ada@shop.example", "not the password"},
			{"known in capitals", "ADA@shop.example", "not the password"},
			{"disabled, right password", "off@shop.example", goodPassword},
			{"disabled, wrong password", "off@shop.example", "not the password"},
			{"known, unusable hash", "bad@shop.example", goodPassword},
			{"known, without a password", "bye@shop.example", goodPassword},
			{"known, with second factors", "two@shop.example", "not the password"},
			{"an administrator who leaves", "sue@shop.example", "not the password"},
		} {
			// A page repeats the address that was typed: both type the same length.
			unknown := request(strings.Replace(c.email, "@shop", "@shup", 1), c.password)
			w.now.advance(2 * (25 * time.Hour)) // the bounds of guessing have a test of their own
			fold := func(h http.Handler) http.Handler { return sameAddress(h, "shup", "shop") }
			if diff := unlike(w, fold(w.door()), request(c.email, c.password), unknown); diff != "" {
				t.Errorf("%s, %s: differs from an unknown account in its %s", how.name, c.name, diff)
			}
		}

		// Positive control: the same comparison finds every seeded difference.
		for name, seed := range map[string]func(http.Handler) http.Handler{
			"no hash for the unknown": func(h http.Handler) http.Handler {
				return forUnknown(h, func(rec http.ResponseWriter) { rec.WriteHeader(401) })
			},
			"a word for the unknown": func(h http.Handler) http.Handler {
				return forUnknown(h, func(rec http.ResponseWriter) { _, _ = rec.Write([]byte(" ")) }, h)
			},
			"a header for the unknown": func(h http.Handler) http.Handler {
				return forUnknown(h, func(rec http.ResponseWriter) { rec.Header().Set("X-User", "none") }, h)
			},
			"a look-up for the unknown": func(h http.Handler) http.Handler {
				return forUnknown(h, func(http.ResponseWriter) { _, _, _ = w.id.accountByID(t.Context(), "x") }, h)
			},
			"a counter for the unknown": func(h http.Handler) http.Handler {
				return forUnknown(h, func(http.ResponseWriter) {
					_ = w.id.guesses.Take(t.Context(), "x", "x", zone.Rate{Count: 1 << 20, Window: time.Hour})
				}, h)
			},
			"a hash for the unknown": func(h http.Handler) http.Handler {
				return forUnknown(h, func(http.ResponseWriter) { _, _, _ = w.passwords.Hash(t.Context(), "x") }, h)
			},
		} {
			w.now.advance(2 * (25 * time.Hour))
			seeded := sameAddress(seed(w.door()), "shup", "shop")
			known, unknown := request("ada@shop.example", "not the password"), request("ada@shup.example", "not the password")
			if diff := unlike(w, seeded, known, unknown); diff == "" {
				t.Errorf("%s, %s: the seeded difference was not found", how.name, name)
			}
		}
	}
}

// forUnknown answers requests that name the unknown address with extra, before
// the handlers that follow.
func forUnknown(h http.Handler, extra func(http.ResponseWriter), then ...http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body bytes.Buffer
		_, _ = body.ReadFrom(r.Body)
		r.Body = readCloser{&body}
		if !strings.Contains(body.String(), "shup") {
			h.ServeHTTP(w, r)
			return
		}
		extra(w)
		for _, h := range then {
			h.ServeHTTP(w, r)
		}
	})
}

// sameAddress writes the one address as the other in answers: a page repeats
// what was typed, which tells nothing.
func sameAddress(h http.Handler, old, now string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, r)
		maps.Copy(w.Header(), rec.Header())
		w.WriteHeader(rec.Code)
		_, _ = w.Write(bytes.ReplaceAll(rec.Body.Bytes(), []byte(old), []byte(now)))
	})
}

type readCloser struct{ *bytes.Buffer }

func (readCloser) Close() error { return nil }

// TestThrottleTellsNothing: the bound of guesses is the same for accounts that
// are there and that are not.
func TestThrottleTellsNothing(t *testing.T) {
	answers := map[string][]string{}
	for _, email := range []string{"ada@shop.example", "eve@shop.example"} {
		w := newWorld(t, openZone())
		w.addUser("ada@shop.example", goodPassword)
		for range 20 {
			rec := w.post("/auth/login", credentialsJSON(email, "not the password"))
			answers[email] = append(answers[email], fmt.Sprint(rec.Code, rec.Header(), rec.Body))
		}
	}
	known, unknown := answers["ada@shop.example"], answers["eve@shop.example"]
	if !slices.Equal(known, unknown) {
		t.Errorf("answers of a known account\n%q\nand of an unknown one\n%q", known, unknown)
	}
	if !strings.Contains(known[len(known)-1], "limit.rate") {
		t.Errorf("positive control: the last answer is no limit.rate: %s", known[len(known)-1])
	}
}

// TestRegistrationCostsOneHash: that an address is taken is told, in development
// without mail, but never before the password was hashed.
func TestRegistrationCostsOneHash(t *testing.T) {
	w := newWorld(t, openZone())
	w.addUser("ada@shop.example", goodPassword)
	for email, want := range map[string]int{"ada@shop.example": 409, "eve@shop.example": 201} {
		w.count.reset()
		rec := w.post("/auth/register", credentialsJSON(email, goodPassword))
		if rec.Code != want || w.count.hashes() != 1 {
			t.Errorf("register %s: %d with %d hashes, want %d with one", email, rec.Code, w.count.hashes(), want)
		}
	}
}

// TestStepsTellNothing: flows that are of no use are all alike, whatever they were,
// and so are passkeys that do not log in.
func TestStepsTellNothing(t *testing.T) {
	w := newWorld(t, openZone())
	u := w.addUser("two@shop.example", goodPassword)
	secret := w.giveApp(u.ID)
	bound := w.postForm("/auth/login", "email=two%40shop.example&password=correct+horse+battery")
	live := func() string { return w.first(u.Email).Flow }
	over, tried, changed := live(), live(), live()
	for range stepTries {
		w.post("/auth/mfa/totp", object("flow", tried, "code", w.wrong(secret)))
	}
	w.now.advance(time.Hour) // the bound of second factors has a test of its own
	used := live()
	w.want(w.post("/auth/mfa/totp", object("flow", used, "code", w.code(secret))), 200, "positive control")
	flows := map[string]string{
		"over": over, "used": used, "of too many tries": tried, "before a change": changed, "of another browser": flowIn(bound.Body.String()),
		"of another kind": w.otherFlow(), "no flow at all": "x",
	}
	unknown := strings.Repeat("A", 43)
	for _, path := range []string{"/auth/mfa/totp", "/auth/mfa/recovery", "/auth/mfa/passkey/begin"} {
		request := func(flow string) *http.Request {
			body := object("flow", flow, "code", "123456")
			if strings.HasSuffix(path, "begin") {
				body = object("flow", flow)
			}
			r := httptest.NewRequest("POST", "https://shop.example"+path, strings.NewReader(body))
			r.Header.Set("Content-Type", jsonType)
			return r
		}
		for name, flow := range flows {
			if diff := unlike(w, w.door(), request(flow), request(unknown)); diff != "" {
				t.Errorf("%s, a flow %s: differs from one that never was in its %s", path, name, diff)
			}
		}
		seeded := http.HandlerFunc(func(rec http.ResponseWriter, r *http.Request) {
			_, _, _ = w.id.accountByID(t.Context(), "x")
			w.door().ServeHTTP(rec, r)
		})
		if a, b := request(over), request(unknown); unlike(w, http.HandlerFunc(func(rec http.ResponseWriter, r *http.Request) {
			if r == a {
				seeded.ServeHTTP(rec, r)
				return
			}
			w.door().ServeHTTP(rec, r)
		}), a, b) == "" {
			t.Errorf("%s: the seeded difference was not found", path)
		}
	}

	// To begin a login by passkey names nobody, looks at nobody and stores nothing.
	w.count.reset()
	begun := w.want(w.post("/auth/passkey/begin", "{}"), 200, "begin")
	if !w.count.free() || strings.Contains(string(begun.Options), "allowCredentials") {
		t.Errorf("begin: %v, options %s, want no cost and no credentials", w.count, begun.Options)
	}
}

// TestGuessingIsBounded is control ID-05 at the door: ten thousand guesses within
// an hour from as many addresses reach a handful of hashes, and the owner logs in
// from a device that is known all the while.
func TestGuessingIsBounded(t *testing.T) {
	w := newWorld(t, openZone())
	w.addUser("ada@shop.example", goodPassword)
	body := "email=ada%40shop.example&password=correct+horse+battery"
	device := cookieNamed(w.postForm("/auth/login", body), DeviceCookie)
	owner := func(cookies ...*http.Cookie) int {
		w.client = "203.0.113.77"
		return w.do(ask{method: "POST", path: "/auth/login", body: body, more: cookies, header: map[string]string{"Content-Type": formType}}).Code
	}
	const guesses = 10_000
	door, guessed, limited := w.door(), 0, 0
	for i := range guesses {
		w.now.advance(time.Hour / guesses)
		w.client = fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255)
		r := httptest.NewRequest("POST", "https://shop.example/auth/login", strings.NewReader(credentialsJSON("ada@shop.example", "not the password")))
		r.Header.Set("Content-Type", jsonType)
		rec := httptest.NewRecorder()
		door.ServeHTTP(rec, r)
		switch reason(rec) {
		case "auth.login":
			guessed++
		case "limit.rate":
			limited++
		default:
			t.Fatalf("guess %d: %d %s", i, rec.Code, reason(rec))
		}
		if i%1000 == 999 {
			if code := owner(device); code != 303 {
				t.Errorf("after %d guesses the owner is answered %d, want 303", i+1, code)
			}
		}
	}
	if guessed > 100 || guessed < 20 || limited != guesses-guessed {
		t.Errorf("%d of %d guesses were looked at, want some and 100 at most", guessed, guesses)
	}
	if code := owner(); code != 429 {
		t.Errorf("who has no known device is answered %d, want 429: else this test shows nothing", code)
	}
	w.now.advance(time.Hour)
	if code := owner(); code != 303 {
		t.Errorf("an hour later: %d, want 303: nothing is locked for good", code)
	}
}
