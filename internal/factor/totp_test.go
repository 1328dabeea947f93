package factor_test

import (
	"context"
	"encoding/base32"
	"encoding/xml"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/totp"
	"rsc.io/qr"

	"sallyport.dev/internal/factor"
	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/store"
)

// app is an authenticator app: it knows the secret and has a clock.
type app struct {
	w      *world
	secret string
}

func (a app) at(offset time.Duration) string {
	a.w.t.Helper()
	code, err := totp.GenerateCode(a.secret, a.w.clock().Add(offset))
	a.w.must(err)
	return code
}

// other is a code that none of the steps around now has.
func (a app) other() string {
	near := map[string]bool{}
	for offset := -2; offset <= 2; offset++ {
		near[a.at(time.Duration(offset)*30*time.Second)] = true
	}
	for i := 0; ; i++ {
		if code := fmt.Sprintf("%06d", i); !near[code] {
			return code
		}
	}
}

func (w *world) beginTOTP(user string) (app, []byte) {
	w.t.Helper()
	e, err := w.BeginTOTP(user, "user@shop.example", "QR code")
	w.must(err)
	return app{w, strings.ReplaceAll(string(e.Secret), " ", "")}, e.Sealed
}

func (w *world) enableTOTP(user string, sealed []byte, code, name string) (fac factor.Factor, o factor.Outcome, err error) {
	err = w.change(func(ctx context.Context, tx *store.Tx) error {
		fac, o, err = w.EnableTOTP(ctx, tx, user, sealed, code, name)
		return err
	})
	return fac, o, err
}

// enrollTOTP sets an app up, with the code of the step before: the present one is
// left for the test.
func (w *world) enrollTOTP(user string) (app, factor.Factor) {
	w.t.Helper()
	a, sealed := w.beginTOTP(user)
	fac, o, err := w.enableTOTP(user, sealed, a.at(-30*time.Second), "my phone")
	if err != nil || o != factor.Right {
		w.t.Fatalf("EnableTOTP: %v, %v", o, err)
	}
	return a, fac
}

func (w *world) checkTOTP(user, code string) (fac factor.Factor, o factor.Outcome) {
	w.t.Helper()
	w.must(w.change(func(ctx context.Context, tx *store.Tx) (err error) {
		fac, o, err = w.CheckTOTP(ctx, tx, user, code)
		return err
	}))
	return fac, o
}

func (w *world) wantTOTP(user, code string, want factor.Outcome, what string) {
	w.t.Helper()
	if _, got := w.checkTOTP(user, code); got != want {
		w.t.Errorf("%s: code %q is %v, want %v", what, code, got, want)
	}
}

func TestEnrollment(t *testing.T) {
	w := newWorld(t)
	e, err := w.BeginTOTP(alice, "alice: a+b@shop.example", `A "QR" code <b>`)
	w.must(err)
	if !regexp.MustCompile(`^([A-Z2-7]{4} ){7}[A-Z2-7]{4}$`).MatchString(string(e.Secret)) {
		t.Errorf("secret %q, want eight groups of four", string(e.Secret))
	}
	secret := strings.ReplaceAll(string(e.Secret), " ", "")
	u, err := url.Parse(string(e.URI))
	w.must(err)
	want := url.Values{"secret": {secret}, "issuer": {"shop.example"}, "algorithm": {"SHA1"}, "digits": {"6"}, "period": {"30"}}
	if u.Scheme != "otpauth" || u.Host != "totp" || u.Path != "/shop.example:alice: a+b@shop.example" || u.Query().Encode() != want.Encode() {
		t.Errorf("URI %q", string(e.URI))
	}
	if strings.Contains(string(e.URI), "+") || strings.Count(string(e.URI), ":") != 2 {
		t.Errorf("URI %q holds a plus, or a colon of the account", string(e.URI))
	}
	key, err := otp.NewKeyFromURL(string(e.URI)) // as an app reads it
	if err != nil || key.Secret() != secret || key.Issuer() != "shop.example" || key.AccountName() != "alice: a+b@shop.example" || key.Period() != 30 || key.Digits() != 6 {
		t.Errorf("an app reads %+v, %v", key, err)
	}
	checkSVG(t, string(e.SVG), string(e.URI), `A "QR" code <b>`)
	if again, err := w.BeginTOTP(alice, "a", "q"); err != nil || again.Secret == e.Secret {
		t.Errorf("a second secret: the same, %v", err)
	}
	for _, account := range []string{"", strings.Repeat("a", 321)} {
		_, err := w.BeginTOTP(alice, account, "q")
		w.want(err, problem.AccountInvalid, fmt.Sprintf("an account of %d bytes", len(account)))
	}
	if _, err := w.BeginTOTP(alice, strings.Repeat("ä", 160), "q"); err != nil {
		t.Errorf("the longest account: %v", err)
	}
	if s := fmt.Sprintf("%v %+v", e, e); strings.Contains(s, secret) || strings.Contains(s, string(e.Secret)) {
		t.Error("an enrollment prints its secret")
	}
}

// checkSVG draws the picture again and compares it with the code, bit by bit.
func checkSVG(t *testing.T, svg, uri, title string) {
	t.Helper()
	var doc struct {
		XMLName xml.Name
		ViewBox string `xml:"viewBox,attr"`
		Role    string `xml:"role,attr"`
		Label   string `xml:"aria-label,attr"`
		Title   string `xml:"title"`
		Path    struct {
			D string `xml:"d,attr"`
		} `xml:"path"`
	}
	if err := xml.Unmarshal([]byte(svg), &doc); err != nil {
		t.Fatalf("the SVG is no XML: %v\n%s", err, svg)
	}
	if doc.XMLName.Space != "http://www.w3.org/2000/svg" || doc.Role != "img" || doc.Label != title || doc.Title != title {
		t.Errorf("SVG %+v, want role img and its title", doc)
	}
	for _, banned := range []string{"style", "<script", "href", "onload", "<b>"} {
		if strings.Contains(svg, banned) {
			t.Errorf("the SVG holds %s", banned)
		}
	}
	code, err := qr.Encode(uri, qr.M)
	if err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("0 0 %d %d", code.Size+8, code.Size+8); doc.ViewBox != want {
		t.Errorf("viewBox %q, want %q", doc.ViewBox, want)
	}
	black := map[[2]int]bool{}
	for _, m := range regexp.MustCompile(`M(\d+) (\d+)h(\d+)v1h-(\d+)z`).FindAllStringSubmatch(doc.Path.D, -1) {
		var x, y, run, back int
		_, _ = fmt.Sscan(strings.Join(m[1:], " "), &x, &y, &run, &back)
		if run != back {
			t.Errorf("piece %s is not closed", m[0])
		}
		for i := range run {
			black[[2]int{x + i, y}] = true
		}
	}
	if rest := regexp.MustCompile(`M(\d+) (\d+)h(\d+)v1h-(\d+)z`).ReplaceAllString(doc.Path.D, ""); rest != "" {
		t.Errorf("the path holds %q besides", rest)
	}
	for y := range code.Size + 8 {
		for x := range code.Size + 8 {
			if black[[2]int{x, y}] != code.Black(x-4, y-4) {
				t.Fatalf("module %d,%d differs from the code", x, y)
			}
		}
	}
}

func TestEnableTOTP(t *testing.T) {
	w := newWorld(t)
	a, sealed := w.beginTOTP(alice)
	if _, o, err := w.enableTOTP(alice, sealed, a.other(), "phone"); err != nil || o != factor.Wrong {
		t.Errorf("a wrong code: %v, %v, want wrong", o, err)
	}
	_, _, err := w.enableTOTP(bob, sealed, a.at(0), "phone")
	w.want(err, problem.AccountInvalid, "begun for another user")
	_, _, err = w.enableTOTP(alice, sealed[1:], a.at(0), "phone")
	w.want(err, problem.AccountInvalid, "a draft that is none")
	_, _, err = w.enableTOTP(alice, sealed, a.at(0), "")
	w.want(err, problem.AccountInvalid, "no name")
	if n := w.count("SELECT COUNT(*) FROM factors"); n != 0 {
		t.Fatalf("%d factors after refusals, want none", n)
	}
	w.pass(15*time.Minute - time.Second)
	fac, o, err := w.enableTOTP(alice, sealed, a.at(0), " phone ")
	if err != nil || o != factor.Right || fac.Kind != factor.TOTP || fac.Name != "phone" || !fac.Created.Equal(w.clock()) {
		t.Errorf("a right code: %+v, %v, %v", fac, o, err)
	}
	w.wantTOTP(alice, a.at(0), factor.Used, "the code that enabled it")
	_, _, err = w.enableTOTP(alice, sealed, a.at(30*time.Second), "twice")
	w.want(err, problem.AccountInvalid, "the same draft again")

	late, sealed := w.beginTOTP(alice)
	w.pass(15 * time.Minute)
	_, _, err = w.enableTOTP(alice, sealed, late.at(0), "phone")
	w.want(err, problem.AccountInvalid, "after 15 minutes")

	w.enrollTOTP(alice)
	w.enrollTOTP(alice)
	a, sealed = w.beginTOTP(alice)
	_, _, err = w.enableTOTP(alice, sealed, a.at(0), "fourth")
	w.want(err, problem.AccountInvalid, "the fourth app")
}

func TestCheckTOTP(t *testing.T) {
	w := newWorld(t)
	a, fac := w.enrollTOTP(alice)
	other, _ := w.enrollTOTP(bob)
	step := 30 * time.Second
	w.pass(10 * step)
	w.wantTOTP(alice, a.other(), factor.Wrong, "another code")
	w.wantTOTP(alice, a.at(-2*step), factor.Wrong, "two steps old")
	w.wantTOTP(alice, a.at(2*step), factor.Wrong, "two steps ahead")
	w.wantTOTP(alice, other.at(0), factor.Wrong, "another user's")
	w.wantTOTP("nobody", a.at(0), factor.Wrong, "a user without apps")
	w.wantTOTP("", a.at(0), factor.Wrong, "no user")
	for _, code := range []string{"", "12345", "1234567", "abcdef", "１２３４５６", strings.Repeat("0", 1<<16)} {
		w.wantTOTP(alice, code, factor.Wrong, "no code at all")
	}

	w.wantTOTP(alice, a.at(-step), factor.Right, "one step old")
	w.wantTOTP(alice, a.at(-step), factor.Used, "again")
	now := a.at(0)
	w.wantTOTP(alice, now[:3]+" "+now[3:], factor.Right, "now, as apps show it")
	w.wantTOTP(alice, now, factor.Used, "again")
	w.wantTOTP(alice, a.at(-step), factor.Used, "the step before")
	w.wantTOTP(alice, a.at(step), factor.Right, "one step ahead")
	w.wantTOTP(alice, now, factor.Used, "back again")
	w.pass(step)
	w.wantTOTP(alice, a.at(0), factor.Used, "the step ahead, now that it is here")
	w.pass(step)
	got, o := w.checkTOTP(alice, a.at(0))
	if o != factor.Right || got.ID != fac.ID || !got.LastUsed.Equal(w.clock()) {
		t.Errorf("the next step: %+v, %v", got, o)
	}
	w.wantTOTP(bob, other.at(0), factor.Right, "the other user")

	// Two apps of one user count on their own.
	w.pass(step)
	second, f2 := w.enrollTOTP(alice)
	if got, o := w.checkTOTP(alice, second.at(0)); o != factor.Right || got.ID != f2.ID {
		t.Errorf("second app: %+v, %v", got, o)
	}
	if got, o := w.checkTOTP(alice, a.at(0)); o != factor.Right || got.ID != fac.ID {
		t.Errorf("first app in the same step: %+v, %v", got, o)
	}
}

// Of many submissions of one code at once, one is accepted.
func TestStepIsAcceptedOnce(t *testing.T) {
	w := newWorld(t)
	a, _ := w.enrollTOTP(alice)
	for range 3 {
		code := a.at(0)
		tally := race(8, func() factor.Outcome { _, o := w.checkTOTP(alice, code); return o })
		if tally[factor.Right] != 1 || tally[factor.Used] != 7 {
			t.Errorf("8 submissions of one code: %v, want 1 right, 7 used before", tally)
		}
		w.pass(30 * time.Second)
	}
}

// race runs fn n times at once and counts the outcomes.
func race(n int, fn func() factor.Outcome) map[factor.Outcome]int {
	var mu sync.Mutex
	tally := map[factor.Outcome]int{}
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			o := fn()
			mu.Lock()
			defer mu.Unlock()
			tally[o]++
		})
	}
	wg.Wait()
	return tally
}

// A secret moved to another user does not open, nor does one that was planted.
func TestPlantedSecretDoesNotOpen(t *testing.T) {
	w := newWorld(t)
	a, fac := w.enrollTOTP(alice)
	w.exec("UPDATE factors SET user_id = ? WHERE id = ?", bob, fac.ID)
	err := w.change(func(ctx context.Context, tx *store.Tx) error {
		_, o, err := w.CheckTOTP(ctx, tx, bob, a.at(0))
		if o == factor.Right {
			t.Error("a secret moved to another user was accepted")
		}
		return err
	})
	w.want(err, problem.InternalError, "a secret moved to another user")
	w.exec("UPDATE factors SET user_id = ? WHERE id = ?", alice, fac.ID)
	w.wantTOTP(alice, a.at(0), factor.Right, "positive control: moved back")
}

func TestSecretIs160Bits(t *testing.T) {
	w := newWorld(t)
	a, _ := w.beginTOTP(alice)
	secret, err := base32.StdEncoding.DecodeString(a.secret)
	if err != nil || len(secret) != 20 {
		t.Errorf("secret of %d bytes, %v, want 20", len(secret), err)
	}
}
