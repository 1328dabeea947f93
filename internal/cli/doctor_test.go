package cli

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sallyport.dev/internal/app"
	"sallyport.dev/internal/doctor"
	"sallyport.dev/internal/mail/mailtest"
	"sallyport.dev/internal/problem"
)

// examined runs the doctor and returns the findings by part/name.
func examined(t *testing.T, want int, args ...string) map[string]string {
	t.Helper()
	code, stdout, stderr := run(append([]string{"doctor", "--format", "json"}, args...)...)
	if code != want {
		t.Errorf("%v: exit code %d, want %d: %s", args, code, want, stderr)
	}
	var r doctorReport
	if err := json.Unmarshal([]byte(stdout), &r); err != nil {
		t.Fatalf("%v: %v: %s", args, err, stdout)
	}
	if (r.Fail > 0) != (want == exitNo) {
		t.Errorf("%v: %d fail with exit code %d", args, r.Fail, want)
	}
	return r.list()
}

type doctorReport struct {
	Fail     int
	Findings []struct{ Part, Name, State, Found string }
}

// list is the findings by part/name.
func (r *doctorReport) list() map[string]string {
	list := map[string]string{}
	for _, f := range r.Findings {
		list[f.Part+"/"+f.Name] = f.State + ": " + f.Found
	}
	return list
}

// TestDoctor looks at folders without a zone, and at zones that answer in every way.
func TestDoctor(t *testing.T) {
	wrong := filepath.Join(t.TempDir(), "zone.yaml")
	if err := os.WriteFile(wrong, []byte("zone: shop.example\nservics: {}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := examined(t, exitNo, wrong, "--data", filepath.Join(t.TempDir(), "none"))["map/map"]; !strings.HasPrefix(got, "fail: ") || !strings.Contains(got, "zone.yaml:2:") {
		t.Errorf("a wrong map: %s", got)
	}
	open := t.TempDir()
	if err := os.Chmod(open, 0o755); err != nil { // #nosec G302 -- the fault
		t.Fatal(err)
	}
	if got := examined(t, exitNo, "--data", open)["data/data folder"]; !strings.HasPrefix(got, "fail: ") {
		t.Errorf("an open folder: %s", got)
	}
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		check  string
		want   string
	}{
		"ready":           {answering(200, `{"ready":true,"pid":0}`), "zone/ready", "ok: "},
		"not ready":       {answering(200, `{"ready":false,"not_ready":["store"]}`), "zone/ready", "fail: it waits for: store"},
		"cannot say":      {refusing(problem.JournalFull, ""), "zone/ready", "fail: the zone answers on its admin socket, and cannot say"},
		"something else":  {answering(200, "<html>"), "zone/ready", "fail: admin socket"},
		"is there at all": {answering(200, `{"ready":true}`), "data/lock", "ok: the running zone answers"},
	} {
		data := fakeZone(t, c.answer)
		code := exitNo
		if strings.HasPrefix(c.want, "ok") {
			_, stdout, _ := run("doctor", "--data", data, "--format", "json")
			if !strings.Contains(stdout, `"running":true`) {
				t.Errorf("%s: %s", name, stdout)
			}
			if !strings.Contains(stdout, `"fail":0`) {
				t.Logf("%s: this host fails something of its own: %s", name, stdout)
			} else {
				code = exitDone
			}
		}
		if got := examined(t, code, "--data", data)[c.check]; !strings.HasPrefix(got, c.want) {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
	if code, _, stderr := run("doctor", filepath.Join(t.TempDir(), "none.yaml")); code != exitRun || !strings.Contains(stderr, "sallyport init") {
		t.Errorf("no map: exit code %d, %q", code, stderr)
	}
	if code, _, _ := run("doctor", "--format", "xml"); code != exitUsage {
		t.Errorf("a wrong format: exit code %d", code)
	}
}

// TestDoctorTriesMail: the mail server is asked as the zone would, gets no letter,
// and its password is nowhere shown.
func TestDoctorTriesMail(t *testing.T) {
	server := mailtest.StartSTARTTLS(t)
	clear := mailtest.Start(t)
	for _, c := range []struct{ name, url, want string }{
		{"of this host", clear.URL(), "ok: 127.0.0.1:"},
		{"an authority that nobody knows", server.URL(), "fail: 127.0.0.1:"},
		{"nobody there", "smtps://me:geheim@127.0.0.1:1", "fail: 127.0.0.1:1: "},
		{"no url", "mail.example:587 geheim", "fail: identity.mail.smtp: the url "},
	} {
		dir := t.TempDir()
		for file, text := range map[string]string{
			"smtp.url":  c.url,
			"zone.yaml": "zone: shop.example\nlisteners: {public: {address: 127.0.0.1:0}}\nidentity: {listener: public, mail: {smtp: {file: smtp.url}, from: no-reply@shop.example}}\n",
		} {
			if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		_, stdout, stderr := run("doctor", filepath.Join(dir, "zone.yaml"), "--data", filepath.Join(dir, "data"), "--format", "json")
		var r doctorReport
		if err := json.Unmarshal([]byte(stdout), &r); err != nil {
			t.Fatalf("%s: %v: %s%s", c.name, err, stdout, stderr)
		}
		if got := r.list()["mail/smtp server"]; !strings.HasPrefix(got, c.want) {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
		for _, secret := range []string{"geheim", mailtest.User, "rd?", "rd%3F"} {
			if strings.Contains(stdout+stderr, secret) {
				t.Errorf("%s: %q is shown: %s", c.name, secret, stdout)
			}
		}
	}
	if n := len(server.Messages()) + len(clear.Messages()); n != 0 || clear.Connections() != 1 {
		t.Errorf("%d letters, %d connections", n, clear.Connections())
	}
}

// TestRunningOf: a certificate that is not there counts as ended.
func TestRunningOf(t *testing.T) {
	r := runningOf(&app.Status{
		PID: 5, Ready: true, Map: app.MapStatus{Refusal: "why"}, Listeners: []app.ListenerStatus{{Name: "public", Address: "a"}},
		Certificates: []app.CertificateStatus{{Name: "good", Until: "2036-01-01T00:00:00Z"}, {Name: "bad", Error: "x"}},
		Services:     []app.ServiceStatus{{Name: "s", Instances: 2, Healthy: 1}},
		Issuers:      []app.IssuerStatus{{Name: "sso", Usable: true, Keys: 2, Had: "2026-11-22T12:00:00Z", Cause: "why"}},
		Mail:         &app.MailStatus{Waiting: 3, Limit: 9, Oldest: "2026-11-22T12:00:00Z", GivenUp: 4, Failure: "how"},
	})
	if m := r.Mail; m == nil || m.Waiting != 3 || m.Limit != 9 || m.Oldest.Hour() != 12 || m.GivenUp != 4 || m.Failure != "how" || !m.Failing.IsZero() {
		t.Errorf("mail: %+v", m)
	}
	if i := r.Issuers; len(i) != 1 || i[0] != (doctor.Issuer{Name: "sso", Usable: true, Keys: 2, Had: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC), Cause: "why"}) {
		t.Errorf("issuers: %+v", i)
	}
	if none := runningOf(&app.Status{}); none.Mail != nil {
		t.Errorf("no mail: %+v", none.Mail)
	}
	if r.PID != 5 || !r.Ready || r.Refused != "why" || r.Listeners["public"] != "a" || r.Services[0] != (doctor.Service{Name: "s", Instances: 2, Healthy: 1}) ||
		r.Ends[0].End.Year() != 2036 || r.Ends[1].End.After(time.Unix(0, 0)) {
		t.Errorf("got %+v", r)
	}
}

func TestReportText(t *testing.T) {
	var b bytes.Buffer
	writeReport(&b, &doctor.Report{Fail: 1, OK: 1, Findings: []doctor.Finding{
		{Part: "host", Name: "kernel", State: doctor.OK, Found: "Linux"}, {Part: "data", Name: "root key", State: doctor.Fail, Found: "open", Mend: "chmod 600 it"},
	}})
	const want = "ok\thost\tkernel\tLinux\nfail\tdata\troot key\topen\n\t\t\tmend: chmod 600 it\n\n1 fail, 0 warn, 0 unknown, 1 ok\n"
	if b.String() != want {
		t.Errorf("got %q, want %q", b.String(), want)
	}
}
