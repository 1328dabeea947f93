package app

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sallyport.dev/internal/mail"
	"sallyport.dev/internal/mail/mailtest"
	"sallyport.dev/internal/store"
	"sallyport.dev/zone"
)

// TestStatusOfMail: a zone with mail tells what waits, what was given up and how
// the server fails; one without has nothing to tell.
func TestStatusOfMail(t *testing.T) {
	z := parsed(t)
	without, err := build(t.Context(), z, Options{Data: filepath.Join(socketDir(t), "data"), Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = without.close() })
	if got := without.mailStatus(t.Context()); got != nil {
		t.Errorf("without mail: %+v", got)
	}

	server := mailtest.Start(t)
	url := filepath.Join(t.TempDir(), "smtp.url")
	if err := os.WriteFile(url, []byte(server.URL()), 0o600); err != nil {
		t.Fatal(err)
	}
	z = parsed(t)
	z.Identity.Mail = &zone.Mail{SMTP: zone.Secret{File: url}, From: "no-reply@shop.example"}
	s, err := build(t.Context(), z, Options{Data: filepath.Join(socketDir(t), "data"), Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.close() })
	if got := s.mailStatus(t.Context()); got == nil || got.Waiting != 0 || got.Limit == 0 || got.Oldest+got.Failing+got.Failure+got.Cause+got.Error != "" {
		t.Errorf("nothing waits: %+v", got)
	}
	send := func(kind, to string) {
		t.Helper()
		if err := s.db.Tx(t.Context(), func(ctx context.Context, tx *store.Tx) error {
			return s.accounts.outbox.Enqueue(ctx, tx, mail.Job{Kind: kind, Address: to, Data: map[string]string{"at": stamp(time.Now())}})
		}); err != nil {
			t.Fatal(err)
		}
		if err := s.accounts.outbox.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	server.AnswerAt(mailtest.Rcpt, mailtest.Refuse(550, "5.1.1 no hidden@shop.example here"))
	send(mail.Deleted, "hidden@shop.example")
	server.Stop()
	before := stamp(time.Now())
	send(mail.Deleted, "hidden@shop.example")
	got := s.mailStatus(t.Context())
	if got.Waiting != 1 || got.Oldest < before || got.GivenUp != 1 || len(got.Causes) != 1 || got.Causes[0] != (MailCause{"550 5.1.1", 1}) || got.Failing < before || got.Failure == "" {
		t.Errorf("one waits and one was given up: %+v", got)
	}
	if strings.Contains(got.Failure+got.Cause, "hidden") {
		t.Errorf("an address is told: %+v", got)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if got := s.mailStatus(ended); got.Error != waitsForStore {
		t.Errorf("without an answer of the store: %+v", got)
	}
}
