package e2e

import (
	"syscall"
	"testing"
	"time"
)

// TestOutboxRestart: a letter that was asked for while the mail server was away
// comes once, by the process that is started after, however the one before ended.
func TestOutboxRestart(t *testing.T) {
	t.Parallel()
	for _, end := range []struct {
		name string
		sig  syscall.Signal
	}{{"stopped", syscall.SIGTERM}, {"killed", syscall.SIGKILL}} {
		t.Run(end.name, func(t *testing.T) {
			t.Parallel()
			s := startAccountSite(t, accountsMap)
			ask := func(email string) answer {
				t.Helper()
				return s.do(call{method: "POST", path: "/auth/register", json: true, body: credentials(email, chosen)})
			}
			there := ask("before@shop.example")
			s.letter("before@shop.example", "Confirm your address")

			s.post.Stop()
			known := s.post.Connections()
			away := ask("late@shop.example")
			if away.Status != 202 || away.Status != there.Status || away.Body != there.Body {
				t.Errorf("the answer while the mail server is away: %d %q, while it is there: %d %q", away.Status, away.Body, there.Status, there.Body)
			}
			until(t, "the zone knows that the mail server is away", func() bool { return s.metrics()["sallyport_mail_server_up"] == 0 })
			if err := s.end(end.sig); (err == nil) != (end.sig == syscall.SIGTERM) {
				t.Errorf("the end: %v", err)
			}

			s.post.Restart(t)
			// Nobody is there who could send it: the letter lies in the store alone.
			if n := s.post.Connections() - known; n != 0 || len(s.letters("late@shop.example")) != 0 {
				t.Errorf("%d connections and the letters %q without a zone", n, s.letters("late@shop.example"))
			}

			s.start()
			// Who was killed between a failure and its note of it has the letter on lease
			// for two minutes more.
			untilIn(t, 5*time.Minute, "the letter comes", func() bool { return len(s.letters("late@shop.example")) > 0 })
			letter := s.letter("late@shop.example", "Confirm your address")
			after := ask("after@shop.example") // behind it in the outbox
			s.letter("after@shop.example", "Confirm your address")
			if list := s.letters("late@shop.example"); len(list) != 1 || after.Status != 202 {
				t.Errorf("the letters %q, want one", list)
			}
			token := letter.Link(t, "/auth/verify").Query().Get("token")
			if got := s.do(call{method: "POST", path: "/auth/verify", json: true, body: `{"token":"` + token + `"}`}); got.Status != 200 {
				t.Errorf("its link: %d %s", got.Status, got.Body)
			}
			s.login(account{Email: "late@shop.example", Password: chosen})
		})
	}
}
