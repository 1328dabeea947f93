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
	w.setStoredPassword(broken.ID, "$2b$12$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW")

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
		} {
			// A page repeats the address that was typed: both type the same length.
			unknown := request(strings.Replace(c.email, "@shop", "@shup", 1), c.password)
			w.now.advance(2 * forgetAfter) // the bounds of guessing have a test of their own
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
			"a hash for the unknown": func(h http.Handler) http.Handler {
				return forUnknown(h, func(http.ResponseWriter) { w.id.hasher.hash([]byte("x")) }, h)
			},
		} {
			w.now.advance(2 * forgetAfter)
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
		for range 2 * freeAttempts {
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
		if rec.Code != want || len(w.count.hashes) != 1 {
			t.Errorf("register %s: %d with %d hashes, want %d with one", email, rec.Code, len(w.count.hashes), want)
		}
	}
}
