package problem

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
)

func TestReasonsAreClosedAndComplete(t *testing.T) {
	form := regexp.MustCompile(`^[a-z]+\.[a-z_]+$`)
	seen := map[string]Reason{}
	for _, r := range All() {
		code := r.Code()
		if r != OK && !form.MatchString(code) {
			t.Errorf("reason %d: code %q, want family.name", uint8(r), code)
		}
		if other, dup := seen[code]; dup {
			t.Errorf("reasons %d and %d share the code %q", uint8(r), uint8(other), code)
		}
		seen[code] = r
		if r.Title() == "" || r.Mend() == "" {
			t.Errorf("%s: title %q, mend %q: neither may be empty", code, r.Title(), r.Mend())
		}
		if r != OK && (r.Status() < 400 || r.Status() > 504) {
			t.Errorf("%s: status %d is no refusal", code, r.Status())
		}
		if got, ok := Parse(code); !ok || got != r {
			t.Errorf("Parse(%q) = %v, %v, want %v, true", code, got, ok, r)
		}
	}
	if got, ok := Parse("made.up"); ok {
		t.Errorf("Parse of an unknown code = %v, true, want false", got)
	}
}

func TestZeroReasonDenies(t *testing.T) {
	var zero Reason
	if zero.Status() != 500 {
		t.Errorf("zero reason has status %d, want 500", zero.Status())
	}
	if got := Reason(255).Code(); got != "internal.error" {
		t.Errorf("reason out of range = %q, want internal.error", got)
	}
}

func TestReasonOf(t *testing.T) {
	for _, c := range []struct {
		err  error
		want Reason
	}{
		{nil, OK},
		{errors.New("boom"), InternalError},
		{New(AuthExpired, errors.New("row 7")), AuthExpired},
		{fmt.Errorf("session: %w", New(AuthRevoked, nil)), AuthRevoked},
	} {
		if got := ReasonOf(c.err); got != c.want {
			t.Errorf("ReasonOf(%v) = %v, want %v", c.err, got, c.want)
		}
	}
}

func TestWriteShowsNoCause(t *testing.T) {
	w := httptest.NewRecorder()
	err := &Error{Reason: AccountPassword, Detail: "too short", Cause: errors.New("secret cause")}
	WriteError(w, err, "c0ffee")
	if w.Code != 422 || w.Header().Get("Content-Type") != ContentType || w.Header().Get(ReasonHeader) != "account.password" {
		t.Errorf("status %d, headers %v", w.Code, w.Header())
	}
	var doc Document
	if err := json.Unmarshal(w.Body.Bytes(), &doc); err != nil {
		t.Fatal(err)
	}
	want := Document{Type: "urn:sallyport:reason:account.password", Title: AccountPassword.Title(), Status: 422, Detail: "too short", CorrelationID: "c0ffee"}
	if doc != want {
		t.Errorf("document %+v, want %+v", doc, want)
	}
	if strings.Contains(w.Body.String(), "secret") {
		t.Errorf("the cause is in the answer: %s", w.Body)
	}
}

func TestReasonText(t *testing.T) {
	b, err := json.Marshal(map[string]Reason{"reason": OwnerDenied})
	if err != nil || string(b) != `{"reason":"owner.denied"}` {
		t.Errorf("marshal = %s, %v", b, err)
	}
	var r Reason
	if err := json.Unmarshal([]byte(`"limit.rate"`), &r); err != nil || r != LimitRate {
		t.Errorf("unmarshal = %v, %v", r, err)
	}
	if err := json.Unmarshal([]byte(`"limit.nope"`), &r); err == nil {
		t.Error("unmarshal of an unknown code: no error")
	}
}
