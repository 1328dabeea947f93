package cli

import (
	"context"
	"errors"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"
)

const wholeStatus = `{"ready":false,"not_ready":["store"],"zone":"shop.example","revision":"0123456789abcdef","version":"v1","pid":12,"uptime_seconds":7380,
"map":{"file":"zone.yaml","since":"2026-11-22T13:00:00Z","refused_at":"2026-11-22T14:00:00Z","refusal":"zone.yaml:2:1: wrong\nand more"},
"store":{"engine":"postgres","state":"down"},"kv":{"engine":"valkey","state":"local"},"revocations":{"heard":"2026-11-22T13:59:00Z","fresh":false},
"journal":{"state":"journal.full","size":1610612736,"limit":2147483648,"segments":4,"oldest":"2026-11-20T13:00:00Z","retain_seconds":2592000,"reach_seconds":864000},
"inside_keys":{"signing":"k1","published":2},
"certificates":[{"name":"root","until":"2036-01-01T00:00:00Z"},{"name":"identity of gateway","error":"inside.unavailable"}],
"listeners":[{"name":"public","address":"127.0.0.1:8443"}],
"services":[{"name":"catalog","instances":2,"healthy":1,"inner_door":"embedded","guard":{"seen":"2026-11-22T13:59:58Z","current":false}},{"name":"plain","instances":1,"healthy":1}],
"exports":[{"exporter":"otlp","signal":"logs","sent":5,"failures":1,"dropped":2,"waiting":3}],
"mail":{"waiting":3,"limit":100000,"oldest":"2026-11-22T12:00:00Z","cause":"450 4.2.0","given_up":12,"causes":[{"cause":"expired","letters":10},{"cause":"550 5.1.1","letters":2}],
"failing_at":"2026-11-22T13:30:00Z","failure":"the server answered 535 to our user and password"},"notices":3}`

// TestStatusText: each part has its line, with what is wrong in it.
func TestStatusText(t *testing.T) {
	data := fakeZone(t, answering(200, wholeStatus))
	code, stdout, stderr := run("status", "--data", data)
	if code != 1 || stderr != "" {
		t.Errorf("exit code %d, %q; want 1 and nothing", code, stderr)
	}
	for _, line := range []string{
		`^shop.example: not ready, up 2 h 3 min, version v1, pid 12$`,
		`^not ready +store$`,
		`^map +zone.yaml +revision 0123456789ab, in force since 2026-11-22T13:00:00Z$`,
		`^map refused +2026-11-22T14:00:00Z +zone.yaml:2:1: wrong \.\.\.$`,
		`^store +postgres +down$`,
		`^kv +valkey +local$`,
		`^revocations +not heard of +since 2026-11-22T13:59:00Z$`,
		`^journal +journal.full +1.5GiB of 2GiB in 4 segments, since 2026-11-20T13:00:00Z; at this rate it holds 10 d, and retain says 30 d$`,
		`^inside keys +2 published +signs with k1$`,
		`^certificate +root +until 2036-01-01T00:00:00Z$`,
		`^certificate +identity of gateway +inside.unavailable$`,
		`^listener +public +127.0.0.1:8443$`,
		`^service +catalog +1 of 2 instances reachable, inner door: embedded, seen 2026-11-22T13:59:58Z with an older map$`,
		`^service +plain +1 of 1 instances reachable$`,
		`^export +otlp logs +5 sent, 3 waiting, 2 dropped, 1 failures$`,
		`^mail +3 waiting +of 100000 at most; the oldest since 2026-11-22T12:00:00Z, last answer: 450 4.2.0$`,
		`^mail server +fails +since 2026-11-22T13:30:00Z: the server answered 535 to our user and password$`,
		`^mail given up +12 +of the last 30 days: 10 expired; 2 550 5.1.1$`,
		`^notices +3 +sallyport check zone.yaml$`,
	} {
		if !regexp.MustCompile("(?m)" + line).MatchString(stdout) {
			t.Errorf("no line %s in:\n%s", line, stdout)
		}
	}
	good := fakeZone(t, answering(200, strings.NewReplacer(`"ready":false,"not_ready":["store"]`, `"ready":true`, `"fresh":false`, `"fresh":true`).Replace(wholeStatus)))
	if code, stdout, _ := run("status", "--data", good); code != 0 || strings.Contains(stdout, "not ready") || strings.Contains(stdout, "revocations") {
		t.Errorf("ready: exit code %d\n%s", code, stdout)
	}
	if _, stdout, _ := run("status", "--data", good, "--format", "json"); !strings.Contains(stdout, `"inside_keys":{"signing":"k1","published":2}`) {
		t.Errorf("json: %s", stdout)
	}
}

// TestStatusMail: a zone without mail has no line of it, and one whose letters all
// went has one.
func TestStatusMail(t *testing.T) {
	for mail, want := range map[string]string{
		``: ``, `,"mail":{"waiting":0,"limit":9,"given_up":0}`: "mail +0 waiting +of 9 at most\n", `,"mail":{"error":"store"}`: "mail +unknown +no answer of: store\n",
	} {
		_, stdout, _ := run("status", "--data", fakeZone(t, answering(200, `{"ready":true`+mail+`}`)))
		if (mail == "") == strings.Contains(stdout, "mail") || !regexp.MustCompile(want).MatchString(stdout) || strings.Count(stdout, "mail") > 1 {
			t.Errorf("%s: want %q in\n%s", mail, want, stdout)
		}
	}
}

// TestStatusIssuers: whether keys are there, since when not, and why.
func TestStatusIssuers(t *testing.T) {
	for issuer, want := range map[string]string{
		`"usable":true,"keys":2,"had_at":"T"`:                    "outside issuer +sso +2 keys, seen T\n",
		`"usable":true,"keys":2,"had_at":"T","cause":"it hangs"`: "outside issuer +sso +2 keys, not seen since T: it hangs\n",
		`"had_at":"T","cause":"it hangs"`:                        "outside issuer +sso +no keys: its tokens are answered 503, not seen since T: it hangs\n",
		`"cause":"it hangs"`:                                     "outside issuer +sso +no keys: its tokens are answered 503, never had: it hangs\n",
		`"keys":0`:                                               "outside issuer +sso +no keys: its tokens are answered 503, not asked yet\n",
	} {
		_, stdout, _ := run("status", "--data", fakeZone(t, answering(200, `{"ready":true,"issuers":[{"name":"sso",`+issuer+`}]}`)))
		if !regexp.MustCompile(want).MatchString(stdout) {
			t.Errorf("%s: want %q in\n%s", issuer, want, stdout)
		}
	}
	if _, stdout, _ := run("status", "--data", fakeZone(t, answering(200, `{"ready":true,"issuers":[]}`))); strings.Contains(stdout, "issuer") {
		t.Errorf("without any:\n%s", stdout)
	}
}

// TestStatusNoAnswer: a process that is stopped takes connections, and is not ready.
func TestStatusNoAnswer(t *testing.T) {
	stopped := fakeZone(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	if _, err := askStatus(t.Context(), dataFlag{stopped}.client(), 20*time.Millisecond); !errors.Is(err, errNoAnswer) {
		t.Errorf("stopped: %v, want that it gives no answer", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := askStatus(ended, dataFlag{stopped}.client(), time.Minute); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v, want that", err)
	}
	if s, err := askStatus(t.Context(), dataFlag{fakeZone(t, answering(200, wholeStatus))}.client(), time.Minute); err != nil || s.PID != 12 {
		t.Errorf("answers: %+v, %v", s, err)
	}
}

func TestLengthAndSize(t *testing.T) {
	for seconds, want := range map[int64]string{0: "0 s", 59: "59 s", 60: "1 min", 3600: "1 h 0 min", 172799: "47 h 59 min", 172800: "2 d"} {
		if got := length(seconds); got != want {
			t.Errorf("%d seconds: got %q, want %q", seconds, got, want)
		}
	}
	for bytes, want := range map[int64]string{0: "0B", 1023: "1023B", 1024: "1KiB", 1536: "1.5KiB", 10 << 30: "10GiB", 333<<20 + 1: "333MiB"} {
		if got := size(bytes); got != want {
			t.Errorf("%d bytes: got %q, want %q", bytes, got, want)
		}
	}
}
