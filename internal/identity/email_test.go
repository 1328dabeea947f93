package identity

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"sallyport.dev/internal/problem"
	"sallyport.dev/zone"
)

func TestParseEmail(t *testing.T) {
	for _, good := range []string{
		"ada@shop.example", "Ada.Lovelace@Shop.Example", "a+b@c.d", "o'brien@shop.example", "x@localhost",
		"user@xn--bcher-kva.example", "1@2.example", "a_b-c=d@shop.example",
		strings.Repeat("a", 64) + "@" + strings.Repeat(strings.Repeat("b", 46)+".", 4) + "c",
	} {
		if got, err := parseEmail(good); err != nil || got != good {
			t.Errorf("parseEmail(%q) = %q, %v, want it as written", good, got, err)
		}
	}
	for _, bad := range []string{
		"", "ada", "@shop.example", "ada@", "ada@@shop.example", "a@b@c", "ada @shop.example", " ada@shop.example", "ada@shop.example ",
		"Ada <ada@shop.example>", "<ada@shop.example>", `"ada"@shop.example`, "ada(x)@shop.example", "ada@[192.0.2.1]",
		"ada@shop..example", "ada@.example", "ada@example.", "ada@-shop.example", "ada@shop-.example", "ada@sh_op.example",
		".ada@shop.example", "ada.@shop.example", "a..b@shop.example", "ada@shop.example\r\nBcc: x@y", "ada\x00@shop.example",
		"ada,eve@shop.example", "ada;eve@shop.example", "ädá@shop.example", "аda@shop.example", "ada@bücher.example", "ada@shop。example",
		strings.Repeat("a", 65) + "@shop.example", "a@" + strings.Repeat("b", 64) + ".example",
		"a@" + strings.Repeat("b.", 130) + "example",
	} {
		got, err := parseEmail(bad)
		if problem.ReasonOf(err) != problem.AccountInvalid {
			t.Errorf("parseEmail(%q) = %q, %v, want account.invalid", bad, got, err)
		}
	}
}

func FuzzParseEmail(f *testing.F) {
	for _, s := range []string{"ada@shop.example", "A@B", `"a b"@c`, "a@[::1]", "Ada <a@b>", "a@b\r\n", "ａ@ｂ"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := parseEmail(text)
		if err != nil {
			return
		}
		if got != text || len(got) > emailMax || strings.Count(got, "@") != 1 {
			t.Errorf("parseEmail(%q) = %q", text, got)
		}
		for _, r := range got {
			if r <= ' ' || r > '~' || strings.ContainsRune("<>()[]\",:;\\", r) {
				t.Errorf("parseEmail(%q) lets %q pass", text, r)
			}
		}
		if foldEmail(foldEmail(got)) != foldEmail(got) {
			t.Errorf("folding %q twice differs from once", got)
		}
	})
}

// TestNamesAreTheMaps: what a map can ask for can be given, and nothing else:
// each name is judged by the map's own parser too.
func TestNamesAreTheMaps(t *testing.T) {
	inMap := func(key, name string) bool {
		quoted, err := json.Marshal(name) // JSON is YAML
		if err != nil {
			t.Fatal(err)
		}
		_, err = zone.Parse("zone.yaml", fmt.Appendf(nil, "zone: shop.example\nservices:\n  a:\n    upstream: http://127.0.0.1:1\n"+
			"    routes:\n      GET /a: {allow: [user, key], %s: [%s]}\n", key, quoted))
		return err == nil
	}
	for _, c := range []struct {
		name string
		role bool
	}{
		{"admin", true}, {"a", true}, {"Support", true}, {"7th", true}, {"order_admin", true},
		{"orders.write", true}, {"orders:write", true}, {"a-", true}, {strings.Repeat("a", 100), true},
		{"orders/write", false},
		{"", false}, {"-a", false}, {".a", false}, {"_a", false}, {":a", false}, {"/a", false},
		{"a b", false}, {"a,b", false}, {"a\n", false}, {"rôle", false}, {strings.Repeat("a", 101), false},
		{"a\x00", false}, {"a\\b", false}, {"a\"b", false},
	} {
		for key, judge := range map[string]struct {
			check func([]string) ([]string, error)
			want  bool
		}{"roles": {checkRoles, c.role}} {
			_, err := judge.check([]string{c.name})
			if (err == nil) != judge.want || inMap(key, c.name) != judge.want {
				t.Errorf("%s %q: given %v, in a map %v, want %v", key, c.name, err == nil, inMap(key, c.name), judge.want)
			}
		}
	}
}

func TestNames(t *testing.T) {
	got, err := checkRoles([]string{"b", "a", "b"})
	if err != nil || joinNames(got) != "a b" {
		t.Errorf("checkRoles of b a b = %q, %v, want sorted, each once", got, err)
	}
	if _, err := checkRoles(make([]string, 0)); err != nil {
		t.Errorf("no roles: %v", err)
	}
	many := make([]string, 65)
	for i := range many {
		many[i] = "r" + strings.Repeat("x", i)[:i%60] + string(rune('a'+i/60))
	}
	if _, err := checkRoles(many); problem.ReasonOf(err) != problem.AdminInvalid {
		t.Errorf("65 roles: %v, want admin.invalid", err)
	}
	if got := splitNames(""); got == nil || len(got) != 0 {
		t.Errorf("splitNames of nothing = %#v, want an empty list", got)
	}
}
