package mail

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"sallyport.dev/internal/mail/mailtest"
	"sallyport.dev/internal/store"
)

// TestDelivered: a letter is sent once, as the standards have it.
func TestDelivered(t *testing.T) {
	w := newWorld(t)
	must(t, w.add(w.box, Job{Kind: Recover, Address: "ann@example.org", Language: "de-AT", Data: map[string]string{
		"link": "https://www.shop.example:8443/auth/password?token=abc", "expires": "2026-03-01T12:30:00Z",
	}}))
	w.now.advance(time.Minute)
	w.flush()
	m := w.server.Next(t)
	for name, want := range map[string]string{
		"From":           "<no-reply@shop.example>",
		"To":             "<ann@example.org>",
		"Date":           "Sun, 01 Mar 2026 12:00:00 +0000", // when it was asked for
		"Auto-Submitted": "auto-generated",
		"Mime-Version":   "1.0",
		"User-Agent":     "",
		"X-Mailer":       "",
	} {
		if got := m.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if id := m.Header.Get("Message-Id"); !strings.HasSuffix(id, "@shop.example>") || len(id) < 30 {
		t.Errorf("Message-ID: %q", id)
	}
	if m.From != "no-reply@shop.example" || len(m.To) != 1 || m.To[0] != "ann@example.org" {
		t.Errorf("envelope from %q to %q", m.From, m.To)
	}
	if m.Subject != "Wählen Sie ein neues Passwort für shop.example" && !strings.Contains(m.Subject, "für shop.example") {
		t.Errorf("subject %q", m.Subject)
	}
	if raw := string(m.Raw[:bytes.Index(m.Raw, []byte("\r\n\r\n"))]); strings.ContainsFunc(raw, func(r rune) bool { return r > '~' }) {
		t.Errorf("the header is not ASCII:\n%s", raw)
	}
	if got := m.Link(t, "/auth/password").Query().Get("token"); got != "abc" {
		t.Errorf("token %q", got)
	}
	if !strings.HasPrefix(m.HTML, "<!doctype html>") || !strings.Contains(m.HTML, "token=abc") || !strings.Contains(m.Text, "(UTC)") {
		t.Errorf("text\n%s\nhtml\n%s", m.Text, m.HTML)
	}
	w.now.advance(24 * time.Hour)
	w.flush()
	if n := len(w.server.Messages()); n != 1 {
		t.Errorf("%d letters came, want 1", n)
	}
	w.wantStates("")
}

// TestRolledBack: what was not committed is not sent.
func TestRolledBack(t *testing.T) {
	w := newWorld(t)
	errMine := errors.New("mine")
	err := w.db.Tx(t.Context(), func(ctx context.Context, tx *store.Tx) error {
		must(t, w.box.Enqueue(ctx, tx, Job{Kind: Deleted, Address: "not@example.org", Data: map[string]string{"at": "2026-03-01T11:00:00Z"}}))
		return errMine
	})
	if !errors.Is(err, errMine) {
		t.Fatal(err)
	}
	w.enqueue("ann@example.org") // control
	w.flush()
	if got := w.server.Next(t).To[0]; got != "ann@example.org" || len(w.server.Messages()) != 1 {
		t.Errorf("%d letters came, the first to %s", len(w.server.Messages()), got)
	}
}

// TestRun: the worker goes by itself, for what was there and for what comes.
func TestRun(t *testing.T) {
	w := newWorld(t)
	w.enqueue("before@example.org")
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.box.Run(ctx) }()
	w.server.Wait(t, 1)
	for i := range 5 {
		w.enqueue(fmt.Sprintf("after%d@example.org", i))
		w.server.Wait(t, i+2)
	}
	stop()
	if err := <-ended; err != nil {
		t.Errorf("Run: %v", err)
	}
}

// TestRender: what it writes and the letter are committed together; for an
// unknown address there is neither, and nobody is told.
func TestRender(t *testing.T) {
	var fail error
	w := newWorld(t, func(c *Config) {
		c.Render = func(ctx context.Context, tx *store.Tx, job Job) (*Letter, error) {
			if _, err := tx.Exec(ctx, "INSERT INTO sealed (name, version, sealed) VALUES (?, 1, ?)", job.Data["token"], []byte("x")); err != nil {
				return nil, err
			}
			switch {
			case fail != nil:
				return nil, fail
			case job.Data["panic"] != "":
				panic("of Render")
			case job.Data["to"] == "":
				_, err := tx.Exec(ctx, "DELETE FROM sealed WHERE name = ?", job.Data["token"])
				return nil, err
			}
			return &Letter{To: job.Data["to"], Subject: "s", Text: "t"}, nil
		}
	})
	marks := func() (n int) {
		must(t, w.db.View(t.Context(), func(ctx context.Context, tx *store.Tx) error {
			return tx.QueryRow(ctx, "SELECT COUNT(*) FROM sealed").Scan(&n)
		}))
		return n
	}
	before := marks()
	add := func(data map[string]string) {
		must(t, w.add(w.box, Job{Kind: "recover", Address: "Typed@example.org", Data: data}))
	}

	add(map[string]string{"token": "unknown"})
	w.flush()
	if n := len(w.server.Messages()); n != 0 || marks() != before {
		t.Errorf("unknown: %d letters, %d marks", n, marks()-before)
	}
	w.wantStates("")

	fail = errors.New("not now")
	add(map[string]string{"token": "known", "to": "stored@example.org"})
	w.flush()
	if n := len(w.server.Messages()); n != 0 || marks() != before {
		t.Errorf("failed: %d letters, %d marks", n, marks()-before)
	}
	fail = nil
	w.now.advance(time.Minute)
	w.flush()
	if m := w.server.Next(t); m.To[0] != "stored@example.org" || marks() != before+1 {
		t.Errorf("known: to %s, %d marks", m.To[0], marks()-before)
	}

	add(map[string]string{"token": "bad", "to": "a@example.org\r\nBcc: b@example.org"})
	add(map[string]string{"token": "panic", "to": "a@example.org", "panic": "yes"})
	w.flush()
	if n := len(w.server.Messages()); n != 1 || marks() != before+1 {
		t.Errorf("bad letters: %d letters, %d marks", n, marks()-before)
	}
	w.wantStates("dead invalid:1 intent unwritten:1")
	if n := w.metric("sallyport_mail_letters_total", "dropped"); n != 1 {
		t.Errorf("%v dropped", n)
	}
}

// TestRenderedOnce: a letter that was written is kept while it cannot be sent,
// also over a restart.
func TestRenderedOnce(t *testing.T) {
	asked := 0
	render := func(c *Config) {
		c.Render = func(context.Context, *store.Tx, Job) (*Letter, error) {
			asked++
			return &Letter{To: "ann@example.org", Subject: fmt.Sprint("written ", asked), Text: "t"}, nil
		}
	}
	w := newWorld(t, render)
	w.server.Stop()
	must(t, w.add(w.box, Job{Kind: "recover", Address: "ann@example.org"}))
	w.flush()
	w.wantStates("ready unreachable:1")
	must(t, w.db.Close())
	w.server.Restart(t)
	w.db = w.open()
	w.now.advance(time.Second)
	w.box = w.outbox(w.db, render)
	w.flush()
	if m := w.server.Next(t); m.Subject != "written 1" || asked != 1 {
		t.Errorf("subject %q, asked %d times", m.Subject, asked)
	}
}

// TestSealedAtRest: neither address nor data nor letter can be read in the store,
// and sizes tell little.
func TestSealedAtRest(t *testing.T) {
	const planted = "zebra-in-the-outbox"
	w := newWorld(t)
	w.server.AnswerAt(mailtest.Rcpt, mailtest.Refuse(450, "4.2.0 later"))
	add := func(name string) {
		must(t, w.add(w.box, Job{Kind: KeyExpiring, Address: name + "@example.org", User: planted, Data: map[string]string{
			"name": planted, "expires": "2026-03-02T12:00:00Z", "link": "https://www.shop.example:8443/auth/" + planted,
		}}))
	}
	add("a")
	add(planted)
	sizes := map[int]bool{}
	scan := func() (all []byte) {
		must(t, w.db.View(t.Context(), func(ctx context.Context, tx *store.Tx) error {
			rows, err := tx.Query(ctx, "SELECT kind, state, sealed, cause FROM mail_outbox")
			if err != nil {
				return err
			}
			for rows.Next() {
				var kind, state, cause string
				var sealed []byte
				if err := rows.Scan(&kind, &state, &sealed, &cause); err != nil {
					return err
				}
				sizes[len(sealed)] = true
				all = append(append(all, kind+state+cause...), sealed...)
			}
			return rows.Err()
		}))
		for _, suffix := range []string{"", "-wal"} { // of SQLite; on a server the rows are what there is
			if file, err := os.ReadFile(w.path + suffix); err == nil {
				all = append(all, file...)
			}
		}
		return all
	}
	check := func(when string) {
		t.Helper()
		all := scan()
		if !bytes.Contains(all, []byte(KeyExpiring)) && when != "sent" {
			t.Errorf("%s: positive control: the kind is not found", when)
		}
		if bytes.Contains(all, []byte(planted)) {
			t.Errorf("%s: the planted word stands in the store", when)
		}
	}
	check("intent")
	if len(sizes) != 1 {
		t.Errorf("two jobs of one kind have the sizes %v", sizes)
	}
	w.flush()
	w.wantStates("ready 450 4.2.0:2")
	check("ready")
	w.server.Answer(nil)
	w.now.advance(time.Hour)
	w.flush()
	w.wantStates("")
	check("sent")
	if m := w.server.Wait(t, 2)[0]; !strings.Contains(m.Text, planted) {
		t.Error("positive control: the planted word is not in the letter")
	}
	if strings.Contains(w.log.String(), planted) {
		t.Errorf("the planted word stands in the log:\n%s", w.log.String())
	}
}

// TestFull: the outbox is bounded, strangers leave room to accounts, and a
// transaction that found it full goes on.
func TestFull(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Full = 10 })
	w.server.Stop()
	add := func(user string, want error) {
		t.Helper()
		err := w.db.Tx(t.Context(), func(ctx context.Context, tx *store.Tx) error {
			err := w.box.Enqueue(ctx, tx, Job{Kind: "recover", Address: "a@example.org", User: user})
			if !errors.Is(err, want) {
				t.Errorf("user %q: %v, want %v", user, err, want)
			}
			var one int
			return tx.QueryRow(ctx, "SELECT 1").Scan(&one)
		})
		must(t, err)
	}
	for range 9 {
		add("", nil)
	}
	add("", ErrFull)
	add("u", nil)
	add("u", ErrFull)
	if n := w.metric("sallyport_mail_letters_total", outcomeFull); n != 2 {
		t.Errorf("%v found it full, want 2", n)
	}
	s, err := w.box.Status(t.Context())
	if err != nil || s.Waiting != 10 || !s.Oldest.Equal(w.now.time()) {
		t.Errorf("status %+v, %v", s, err)
	}
	must(t, w.db.Tx(t.Context(), func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.Exec(ctx, "DELETE FROM mail_outbox WHERE id IN (SELECT id FROM mail_outbox LIMIT 5)")
		return err
	}))
	add("u", ErrFull) // it counts once a second
	w.now.advance(time.Second)
	add("", nil)
	other := w.outbox(w.db, func(c *Config) { c.Full = 6 }) // another process counts what there is
	must(t, other.Sweep(t.Context()))
	if err := w.add(other, Job{Kind: "recover", Address: "a@example.org"}); !errors.Is(err, ErrFull) {
		t.Errorf("another process: %v, want ErrFull", err)
	}
}

// TestRefusedJobs: what cannot be a letter is refused before anything is stored,
// and no error shows it.
func TestRefusedJobs(t *testing.T) {
	w := newWorld(t)
	for name, job := range map[string]Job{
		"no address":    {Kind: "recover"},
		"injection":     {Kind: "recover", Address: "a@example.org\r\nBcc: secret@example.org"},
		"line feed":     {Kind: "recover", Address: "secret\n@example.org"},
		"two":           {Kind: "recover", Address: "secret@example.org,b@example.org"},
		"display name":  {Kind: "recover", Address: "secret <a@example.org>"},
		"brackets":      {Kind: "recover", Address: "<secret@example.org>"},
		"SMTP argument": {Kind: "recover", Address: "secret@example.org SIZE=1"},
		"not ASCII":     {Kind: "recover", Address: "secrét@example.org"},
		"long":          {Kind: "recover", Address: strings.Repeat("secret", 50) + "@example.org"},
		"kind":          {Kind: "Secret kind", Address: "a@example.org"},
		"no kind":       {Address: "a@example.org"},
		"language":      {Kind: "recover", Address: "a@example.org", Language: strings.Repeat("secret", 10)},
		"data":          {Kind: "recover", Address: "a@example.org", Data: map[string]string{"k": strings.Repeat("secret", 2000)}},
		"not UTF-8":     {Kind: "recover", Address: "a@example.org", Data: map[string]string{"k": "secret\xff"}},
	} {
		err := w.add(w.box, job)
		if err == nil || strings.Contains(strings.ToLower(err.Error()), "secret") {
			t.Errorf("%s: %v, want an error that shows nothing of it", name, err)
		}
	}
	w.wantStates("")
	w.enqueue("o'neil+tag@xn--bcher-kva.example") // control
	w.flush()
	w.wantStates("")
}

// TestLetterChecks: whoever writes a letter cannot add a header or an address.
func TestLetterChecks(t *testing.T) {
	good := Letter{To: "a@example.org", Subject: "Grüße", Text: "t", HTML: "<p>t</p>"}
	change := func(f func(*Letter)) Letter { l := good; f(&l); return l }
	for name, l := range map[string]Letter{
		"":                 good,
		"subject injected": change(func(l *Letter) { l.Subject = "a\r\nBcc: b@example.org" }),
		"subject line":     change(func(l *Letter) { l.Subject = "a\nb" }),
		"subject empty":    change(func(l *Letter) { l.Subject = "" }),
		"subject long":     change(func(l *Letter) { l.Subject = strings.Repeat("x", maxSubject+1) }),
		"two addresses":    change(func(l *Letter) { l.To = "a@example.org, b@example.org" }),
		"no text":          change(func(l *Letter) { l.Text = "" }),
		"too long":         change(func(l *Letter) { l.HTML = strings.Repeat("x", maxLetter) }),
		"not UTF-8":        change(func(l *Letter) { l.Text = "\xff" }),
	} {
		m, err := l.message("no-reply@shop.example", "id@shop.example", time.Unix(0, 0))
		if (err == nil) != (name == "") {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil {
			var raw bytes.Buffer
			_, _ = m.WriteTo(&raw)
			if !strings.Contains(raw.String(), "Subject: =?UTF-8?q?Gr=C3=BC=C3=9Fe?=\r\n") {
				t.Errorf("message\n%s", raw.String())
			}
		}
	}
}
