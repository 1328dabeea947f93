package identity

import (
	"strings"
	"testing"

	"sallyport.dev/internal/problem"
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

func TestNames(t *testing.T) {
	for _, c := range []struct {
		role string
		ok   bool
	}{
		{"admin", true}, {"a", true}, {"team-2-lead", true}, {"a" + strings.Repeat("b", 62), true},
		{"", false}, {"Admin", false}, {"2nd", false}, {"-a", false}, {"a b", false}, {"a.b", false}, {"a\n", false},
		{"a" + strings.Repeat("b", 63), false}, {"rôle", false},
	} {
		if _, err := checkRoles([]string{c.role}); (err == nil) != c.ok {
			t.Errorf("role %q: %v, want ok %v", c.role, err, c.ok)
		}
	}
	for _, c := range []struct {
		scope string
		ok    bool
	}{
		{"orders.write", true}, {"a:b_c-d.e", true}, {"a" + strings.Repeat("b", 127), true},
		{"", false}, {"orders write", false}, {"Orders", false}, {".a", false}, {"a/b", false}, {"a" + strings.Repeat("b", 128), false},
	} {
		if _, err := checkScopes([]string{c.scope}); (err == nil) != c.ok {
			t.Errorf("scope %q: %v, want ok %v", c.scope, err, c.ok)
		}
	}
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
