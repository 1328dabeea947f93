package identity

import (
	"context"
	"testing"

	"sallyport.dev/internal/mail"
	"sallyport.dev/internal/mail/mailtest"
	"sallyport.dev/internal/obs"
	"sallyport.dev/internal/problem"
)

// TestRoundBySMTP walks registration, recovery and a change of the address with the
// outbox and a real SMTP server (control ID-12).
func TestRoundBySMTP(t *testing.T) {
	w := newMailWorld(t)
	server := mailtest.Start(t)
	box, err := mail.New(mail.Config{
		DB: w.db, Root: w.root, Zone: w.id.zone, URL: obs.Secret(server.URL()), Base: "https://shop.example", Render: w.id.Letter, Clock: w.now.time,
	})
	if err != nil {
		t.Fatal(err)
	}
	w.id.mail = box
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- box.Run(ctx) }()
	defer func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	token := func(to, path string) string {
		t.Helper()
		return server.NextTo(t, to, "").Link(t, path).Query().Get("token")
	}

	w.expect("register", w.post("/auth/register", credentialsJSON("ada@shop.example", goodPassword)), 202, problem.OK)
	w.expect("verify", w.post(verifyPath, object("token", token("ada@shop.example", verifyPath))), 200, problem.OK)
	w.expect("register again", w.post("/auth/register", credentialsJSON("ada@shop.example", "a stranger's words")), 202, problem.OK)
	if m := server.NextTo(t, "ada@shop.example", ""); len(m.Links()) == 0 || m.HTML == "" {
		t.Errorf("the letter that there is an account: %+v", m)
	}
	w.expect("recover nobody", w.post(recoverPath, object("email", "nobody@shop.example")), 202, problem.OK)
	w.expect("recover", w.post(recoverPath, object("email", "ADA@shop.example")), 202, problem.OK)
	w.expect("reset", w.post(passwordPath, object("token", token("ada@shop.example", passwordPath), "password", "another long password")), 204, problem.OK)
	server.NextTo(t, "ada@shop.example", "") // that it was changed, and where: no other letter tells of that network
	in := w.want(w.post("/auth/login", credentialsJSON("ada@shop.example", "another long password")), 200, "login")
	w.expect("change", w.postAs(in.Token, "/auth/email", object("email", "ada@new.example")), 202, problem.OK)
	w.expect("confirm", w.postAs(in.Token, verifyPath, object("token", token("ada@new.example", verifyPath))), 200, problem.OK)
	server.NextTo(t, "ada@shop.example", "")
	w.expect("delete", w.postAs(in.Token, "/auth/delete", "{}"), 200, problem.OK)
	server.NextTo(t, "ada@new.example", "")
	w.now.advance(deleteGrace)
	if err := w.id.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	server.NextTo(t, "ada@new.example", "")
	for _, m := range server.Messages() {
		if m.To[0] == "nobody@shop.example" {
			t.Errorf("a letter to nobody: %s", m.Subject)
		}
	}
}
