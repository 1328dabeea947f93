package doctor

import (
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestMailFaults plants one fault each; TestNothingIsWrong has the good twins.
func TestMailFaults(t *testing.T) {
	failed := func(step string) func(p *patient) {
		return func(p *patient) {
			p.smtp, p.dead["smtp"] = SMTP{At: "mail.example:587", Step: step}, errors.New("what failed")
		}
	}
	for _, c := range []struct {
		check string
		plant func(p *patient)
		want  State
		found string
		mend  string
	}{
		{"smtp url", func(p *patient) { p.remove("smtp.url") }, Fail, "no such file", "write it there"},
		{"smtp url", func(p *patient) { p.chmod("smtp.url", 0o644) }, Fail, "mode 0644", "chmod 600"},
		{"smtp server", func(p *patient) { p.smtp, p.dead["smtp"] = SMTP{Step: "read"}, errors.New("the url is none") }, Fail, "identity.mail.smtp: the url is none", "smtp+starttls://"},
		{"smtp server", failed("connect"), Fail, "mail.example:587: what failed", "firewall"},
		{"smtp server", failed("greet"), Fail, "what failed", "port"},
		{"smtp server", failed("cover"), Fail, "what failed", "certificate"},
		{"smtp server", failed("prove"), Fail, "what failed", "password"},
		{"smtp server", func(p *patient) { p.smtp.Proved = false }, Warn, "no password", "USER:PASS"},
		{"smtp server", func(p *patient) { p.Engines.SMTP = nil }, Unknown, "nothing can ask", ""},
		{"outbox", func(p *patient) { p.Running.Mail.Waiting = 90 }, Fail, "90 letters wait, of 100", "status"},
		{"outbox", func(p *patient) { p.Running.Mail.Failing, p.Running.Mail.Failure = now.Add(-time.Hour), "it hung up" }, Fail, "since 2026-11-22T12:00:00Z: it hung up", "smtp server"},
		{"outbox", func(p *patient) { p.Running.Mail.Waiting, p.Running.Mail.Oldest = 2, now.Add(-time.Hour) }, Warn, "the oldest for 1h0m0s", "status"},
		{"outbox", func(p *patient) { p.Running.Mail.Waiting, p.Running.Mail.Oldest = 2, now.Add(-time.Minute) }, OK, "2 letters wait", ""},
		{"outbox", func(p *patient) { p.Running.Mail.GivenUp = 7 }, OK, "7 were given up", ""},
		{"outbox", func(p *patient) { p.Running.Mail.Error = "store" }, Unknown, "no answer of the store", "log"},
	} {
		t.Run(c.check+" "+c.found, func(t *testing.T) {
			p := newPatient(t)
			p.serves()
			c.plant(p)
			f := p.examine("mail", c.check)
			if f.State != c.want || !strings.Contains(f.Found, c.found) || !strings.Contains(f.Mend, c.mend) || strings.Contains(f.Found+f.Mend, "geheim") {
				t.Errorf("got %s, found %q, mend %q; want %s with %q and %q", f.State, f.Found, f.Mend, c.want, c.found, c.mend)
			}
		})
	}
}

// TestEveryStepHasItsMend: a step that package mail may name and nothing here knows
// is a finding without a mend.
func TestEveryStepHasItsMend(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "../mail/step.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	steps := map[string]string{"": "no step of mail"} // the control: what is unknown has none
	ast.Inspect(file, func(n ast.Node) bool {
		v, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if of, ok := v.Type.(*ast.Ident); ok && of.Name == "Step" && len(v.Values) == 1 {
			if text, ok := v.Values[0].(*ast.BasicLit); ok {
				steps[v.Names[0].Name], _ = strconv.Unquote(text.Value)
			}
		}
		return true
	})
	if steps["Read"] == "" || steps["Done"] == "" {
		t.Fatalf("the steps of mail are not found: %v", steps)
	}
	delete(steps, "Done") // it did not fail
	for name, step := range steps {
		p := newPatient(t)
		p.serves()
		p.smtp, p.dead["smtp"] = SMTP{At: "mail.example:587", Step: step}, errors.New("what failed")
		if f := p.examine("mail", "smtp server"); f.State != Fail || (f.Mend != "") != (name != "") {
			t.Errorf("mail.%s, %q: %s with the mend %q", name, step, f.State, f.Mend)
		}
	}
}

// TestNoMail: a zone without mail has no finding of it.
func TestNoMail(t *testing.T) {
	p := newPatient(t)
	p.serves()
	p.Zone.Identity.Mail, p.Running.Mail = nil, nil
	for _, f := range Examine(t.Context(), p.Config).Findings {
		if f.Part == "mail" {
			t.Errorf("%+v", f)
		}
	}
}
