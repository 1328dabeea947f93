package page

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"sallyport.dev/internal/problem"
	"sallyport.dev/zone"
)

func TestHandle(t *testing.T) {
	p := newPages(t, "")
	for _, c := range []struct {
		name, method, accept, site, referer string
		options                             []Option
		err                                 error
		status                              int
		reason, location                    string
	}{
		{name: "done", method: "POST", site: "same-origin", status: 200},
		{name: "another site", method: "POST", site: "cross-site", status: 403, reason: "auth.cross_site"},
		{name: "another site reads", method: "GET", site: "cross-site", status: 200},
		{name: "another site, let through", method: "POST", site: "cross-site", options: []Option{CrossSite}, status: 200},
		{name: "another site, a page", method: "POST", accept: browserAccept, site: "cross-site", status: 403, reason: "auth.cross_site"},
		{name: "refused", method: "POST", err: problem.New(problem.AuthLogin, nil), status: 401, reason: "auth.login"},
		{name: "refused, a page", method: "POST", accept: browserAccept, err: problem.New(problem.AccountFlow, nil), status: 410, reason: "account.flow"},
		{name: "nobody", method: "GET", err: problem.New(problem.AuthMissing, nil), status: 401, reason: "auth.missing"},
		{name: "nobody, a page", method: "GET", accept: browserAccept, err: problem.New(problem.AuthMissing, nil), status: 303, reason: "auth.missing", location: "/auth/login?next=%2Fauth%2Fx%3Fy%3Dz"},
		{name: "ended, a page", method: "GET", accept: browserAccept, err: problem.New(problem.AuthExpired, nil), status: 303, reason: "auth.expired", location: "/auth/login?next=%2Fauth%2Fx%3Fy%3Dz"},
		{name: "ended, a form", method: "POST", accept: browserAccept, err: problem.New(problem.AuthRevoked, nil), status: 303, reason: "auth.revoked", location: "/auth/login"},
		{name: "step-up", method: "POST", err: problem.New(problem.AuthStepUp, nil), status: 401, reason: "auth.step_up"},
		{name: "step-up, a page", method: "GET", accept: browserAccept, err: problem.New(problem.AuthStepUp, nil), status: 303, reason: "auth.step_up", location: "/auth/step-up?next=%2Fauth%2Fx%3Fy%3Dz"},
		{name: "step-up, a form", method: "POST", accept: browserAccept, referer: "https://shop.example/auth/email", err: problem.New(problem.AuthStepUp, nil), status: 303, reason: "auth.step_up", location: "/auth/step-up?next=%2Fauth%2Femail"},
		{name: "step-up, a form elsewhere", method: "POST", accept: browserAccept, referer: "https://evil.example/auth/email", err: problem.New(problem.AuthStepUp, nil), status: 303, reason: "auth.step_up", location: "/auth/step-up"},
		{name: "a defect", method: "GET", err: errors.New("boom"), status: 500, reason: "internal.error"},
		{name: "a defect, a page", method: "GET", accept: browserAccept, err: errors.New("boom"), status: 500, reason: "internal.error"},
	} {
		r := httptest.NewRequest(c.method, "https://shop.example/auth/x?y=z", nil)
		for name, value := range map[string]string{"Accept": c.accept, "Sec-Fetch-Site": c.site, "Referer": c.referer} {
			if value != "" {
				r.Header.Set(name, value)
			}
		}
		w := httptest.NewRecorder()
		p.Handle(func(w http.ResponseWriter, _ *http.Request) error {
			if c.err == nil {
				return WriteJSON(w, http.StatusOK, map[string]bool{"ok": true})
			}
			return c.err
		}, c.options...).ServeHTTP(w, r)
		h := w.Header()
		if w.Code != c.status || h.Get(problem.ReasonHeader) != c.reason || h.Get("Location") != c.location {
			t.Errorf("%s: %d %q to %q, want %d %q to %q", c.name, w.Code, h.Get(problem.ReasonHeader), h.Get("Location"), c.status, c.reason, c.location)
		}
		if h.Get("Cache-Control") != "no-store" || h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Vary") != "Accept, Accept-Language" {
			t.Errorf("%s: headers %v", c.name, h)
		}
		if (c.status == 401) != (h.Get("WWW-Authenticate") == "Bearer") {
			t.Errorf("%s: WWW-Authenticate %q", c.name, h.Get("WWW-Authenticate"))
		}
		if c.location == "" && c.reason != "" {
			if page := strings.HasPrefix(h.Get("Content-Type"), "text/html"); page != (c.accept != "") {
				t.Errorf("%s: %s", c.name, h.Get("Content-Type"))
			}
		}
		if strings.Contains(w.Body.String(), "boom") {
			t.Errorf("%s: the cause is in the answer\n%s", c.name, w.Body)
		}
	}
}

func TestLogFailure(t *testing.T) {
	var log bytes.Buffer
	p, err := New(Config{Zone: &zone.Zone{Name: "shop"}, Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest("GET", "/", nil)
	for _, quiet := range []error{problem.New(problem.AuthLogin, errors.New("boom")), Later(problem.LimitBusy, time.Second)} {
		p.Refuse(httptest.NewRecorder(), r, quiet)
	}
	if log.Len() > 0 {
		t.Errorf("logged: %s", &log)
	}
	p.Refuse(httptest.NewRecorder(), r, problem.New(problem.AuthUnavailable, errors.New("boom")))
	if !strings.Contains(log.String(), "boom") {
		t.Errorf("the cause is not in the log: %s", &log)
	}
}

type patient struct{ error }

func (patient) RetryAfter() time.Duration { return 1500 * time.Millisecond }
func (p patient) Unwrap() error           { return p.error }

func TestRetryAfter(t *testing.T) {
	for _, c := range []struct {
		err  error
		want int
	}{
		{nil, 0}, {errors.New("x"), 0}, {problem.New(problem.LimitRate, nil), 0},
		{Later(problem.LimitRate, 0), 1}, {Later(problem.LimitRate, time.Minute), 60}, {fmt.Errorf("x: %w", Later(problem.LimitBusy, 61*time.Second+1)), 62},
		{patient{problem.New(problem.LimitRate, nil)}, 2},
	} {
		if got := RetryAfter(c.err); got != c.want {
			t.Errorf("RetryAfter(%v) = %d, want %d", c.err, got, c.want)
		}
	}
	r := RefusalOf(patient{problem.New(problem.LimitRate, nil)})
	if r.Reason != problem.LimitRate || r.After != 2 {
		t.Errorf("refusal %+v", r)
	}
}

func TestRefusalOf(t *testing.T) {
	p := newPages(t, "")
	for _, c := range []struct {
		err  error
		view View
		want []string
		not  string
	}{
		{problem.New(problem.AuthLogin, nil), Login{}, []string{"E-mail or password is wrong", "Check both"}, "aria-invalid"},
		{problem.New(problem.AuthLogin, nil), Password{Current: true}, []string{"The current password is wrong", `href="#current"`, "aria-invalid"}, "E-mail or password"},
		{problem.New(problem.AuthLogin, nil), MFA{StepUp: true, Password: true}, []string{"The password is wrong", `href="#password"`}, "E-mail or password"},
		{problem.New(problem.AccountFactor, nil), MFA{Factors: []string{"totp"}}, []string{"The second factor is not right", `href="#code"`}, ""},
		{problem.New(problem.AccountFactor, nil), MFA{Factors: []string{"passkey"}}, []string{"The second factor is not right"}, `href="#`},
		{problem.WithDetail(problem.AccountPassword, "shorter than 15 characters"), Register{}, []string{"Choose another password", "Use at least 15 characters.", `href="#password"`}, ""},
		{problem.WithDetail(problem.AccountInvalid, "email: not an address like name@example.org"), Register{}, []string{"Check the e-mail address", "It should look like", `href="#email"`}, ""},
		{problem.WithDetail(problem.AccountInvalid, "email: no such <domain>"), Register{}, []string{"Check the e-mail address", "No such &lt;domain&gt;."}, "<domain>"},
		{problem.WithDetail(problem.AccountInvalid, "unknown field admin"), Register{}, []string{"Something is not filled in right", "Unknown field admin."}, `href="#`},
		{problem.WithDetail(problem.AccountPassword, "use at least 15 characters, such as a few words; 8 are enough with a second factor"), Register{}, []string{"Use at least 15 characters, such as a few words. With a second factor 8 are enough."}, ""},
		{problem.WithDetail(problem.AccountInvalid, "name: want one line of 1 to 63 characters"), NewKey{}, []string{"Check the name", "One line of at most 63 characters, please.", `href="#name"`}, ""},
		{problem.WithDetail(problem.AccountExists, "the passkey is registered already"), NewPasskey{}, []string{"The passkey did not work", "already has a passkey"}, `href="#`},
		{problem.New(problem.AuthInvalid, nil), MFA{Factors: []string{"passkey"}}, []string{"The passkey did not work"}, "logged in"},
		{problem.New(problem.AccountExists, nil), Register{}, []string{"There is an account", "Log in instead", `href="#email"`}, ""},
		{Later(problem.LimitAddress, time.Hour), Login{}, []string{"Too many attempts", "Try again in 60 minutes."}, ""},
		{Later(problem.LimitBusy, time.Second), Login{}, []string{"Busy right now", "Try again in 1 second."}, ""},
		{problem.New(problem.InternalError, errors.New("secret")), refused{}, []string{"Something went wrong here"}, "secret"},
		{problem.New(problem.ProviderDenied, nil), refused{}, []string{"The other provider did not log you in", "cancelled there"}, ""},
		{problem.New(problem.AuthLogin, nil), Link{Provider: "sso"}, []string{"The password is wrong", `href="#password"`}, "E-mail or password"},
		{problem.WithDetail(problem.AccountInvalid, "user_code: unknown or too old"), Device{}, []string{"Check the code", "Have your device show a new one.", `href="#user_code"`}, ""},
		{problem.New(problem.OAuthClient, nil), refused{}, []string{"The app is not known here, or no longer."}, ""},
		{problem.WithDetail(problem.OAuthRequest, "client_id is not registered"), refused{}, []string{"client_id is not registered."}, "Client_id"},
		{problem.WithDetail(problem.AccountConflict, "this is the last factor"), Account{}, []string{"This cannot be done now", "This is the last factor."}, ""},
	} {
		body := show(t, p, c.view, "en", RefusalOf(c.err), "").Body.String()
		for _, want := range c.want {
			if !strings.Contains(body, want) {
				t.Errorf("%v on %T: no %q\n%s", c.err, c.view, want, body)
			}
		}
		if c.not != "" && strings.Contains(body, c.not) {
			t.Errorf("%v on %T: %q\n%s", c.err, c.view, c.not, body)
		}
	}
	for _, reason := range problem.All() {
		redo := Redo(problem.New(reason, nil))
		if redo && (reason.Status() < 400 || reason == problem.AuthMissing || reason == problem.InternalError || reason == problem.AccountFlow) {
			t.Errorf("Redo(%v)", reason)
		}
	}
	if !Redo(problem.New(problem.AuthLogin, nil)) || !Redo(Later(problem.LimitRate, 1)) || Redo(nil) {
		t.Error("a wrong password is to be typed again, and a slow one; nothing is nothing")
	}
}

func TestOnward(t *testing.T) {
	w := httptest.NewRecorder()
	if err := Onward(w, "https://accounts.google.com/o?x=1&y=2"); err != nil {
		t.Fatal(err)
	}
	if h := w.Header(); w.Code != 200 || h.Get("Refresh") != "0; url=https://accounts.google.com/o?x=1&y=2" || h.Get("Referrer-Policy") != "no-referrer" {
		t.Errorf("%d %v", w.Code, h)
	}
}

func TestWriteJSON(t *testing.T) {
	w := httptest.NewRecorder()
	if err := WriteJSON(w, 201, map[string]string{"at": Stamp(now)}); err != nil {
		t.Fatal(err)
	}
	var got map[string]string
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != 201 || got["at"] != "2026-10-17T12:00:00Z" {
		t.Errorf("%d %s %v", w.Code, w.Body, err)
	}
	if err := WriteJSON(w, 200, func() {}); problem.ReasonOf(err) != problem.InternalError {
		t.Errorf("what JSON cannot hold: %v", err)
	}
}
