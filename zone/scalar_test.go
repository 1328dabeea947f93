package zone

import (
	"testing"
	"time"
)

func TestMeasures(t *testing.T) {
	for _, c := range []struct {
		text string
		want time.Duration
	}{
		{"250ms", 250 * time.Millisecond}, {"5s", 5 * time.Second}, {"30min", 30 * time.Minute}, {"12h", 12 * time.Hour}, {"3650d", maxDuration},
		{"3651d", 0}, {"0s", 0}, {"05s", 0}, {"5m", 0}, {"5", 0}, {"s", 0}, {"", 0}, {"-5s", 0}, {"5 s", 0}, {"1.5h", 0}, {"5S", 0}, {"99999999999999999999d", 0}, {"9223372036854775807d", 0},
	} {
		got, err := duration().parse(c.text)
		if (err == nil) != (c.want > 0) || err == nil && got != c.want {
			t.Errorf("duration %q = %s, %v, want %s", c.text, got, err, c.want)
		}
		if err == nil && FormatDuration(got) != c.text {
			t.Errorf("FormatDuration(%s) = %s, want %s", got, FormatDuration(got), c.text)
		}
	}
	for _, c := range []struct {
		text string
		want int64
	}{{"1B", 1}, {"64KiB", 64 << 10}, {"5MiB", 5 << 20}, {"10GiB", 10 << 30}, {"1MB", 0}, {"1", 0}, {"0B", 0}, {"99999999999GiB", 0}} {
		got, err := size().parse(c.text)
		if (err == nil) != (c.want > 0) || err == nil && got != c.want {
			t.Errorf("size %q = %d, %v, want %d", c.text, got, err, c.want)
		}
		if err == nil && FormatSize(got) != c.text {
			t.Errorf("FormatSize(%d) = %s, want %s", got, FormatSize(got), c.text)
		}
	}
}

func TestRates(t *testing.T) {
	for _, c := range []struct {
		text, shown string
		want        Rate
	}{
		{"30/min", "30/min", Rate{30, time.Minute}},
		{"50/1min", "50/min", Rate{50, time.Minute}},
		{"100/15min", "100/15min", Rate{100, 15 * time.Minute}},
		{"2000/4h", "2000/4h", Rate{2000, 4 * time.Hour}},
		{"5000/3d", "5000/3d", Rate{5000, 72 * time.Hour}},
		{"1/100ms", "1/100ms", Rate{1, 100 * time.Millisecond}},
		{"30", "", Rate{}}, {"/min", "", Rate{}}, {"0/min", "", Rate{}}, {"030/min", "", Rate{}}, {"30/", "", Rate{}}, {"30/m", "", Rate{}},
		{"30/0min", "", Rate{}}, {"-1/min", "", Rate{}}, {"1e3/min", "", Rate{}}, {"9999999999/min", "", Rate{}}, {"30/1 min", "", Rate{}},
	} {
		got, err := rate().parse(c.text)
		if (err == nil) != (c.shown != "") || err == nil && (got != c.want || got.String() != c.shown) {
			t.Errorf("rate %q = %+v shown %q, %v, want %+v shown %q", c.text, got, got, err, c.want, c.shown)
		}
	}
}

func TestHosts(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"shop.example", "shop.example"}, {"localhost", "localhost"}, {"127.0.0.1", "127.0.0.1"}, {"::1", "::1"}, {"0:0:0:0:0:0:0:1", "::1"}, {"::ffff:10.0.0.1", "10.0.0.1"},
		{"", ""}, {"shop.example.", ""}, {"-a.example", ""}, {"a..b", ""}, {"a_b", ""}, {"fe80::1%eth0", ""}, {"http://a", ""}, {"a:80", ""}, {"A.example", ""},
	} {
		got, err := host().parse(c.text)
		if (err == nil) != (c.want != "") || err == nil && got != c.want {
			t.Errorf("host %q = %q, %v, want %q", c.text, got, err, c.want)
		}
	}
}

func TestLocalUpstreams(t *testing.T) {
	for _, c := range []struct {
		text  string
		local bool
	}{
		{"http://127.0.0.1:80", true}, {"http://127.9.9.9:80", true}, {"http://[::1]:80", true}, {"http://localhost:80", true}, {"unix:/a", true},
		{"http://[::ffff:127.0.0.1]:80", true}, {"http://10.0.0.1:80", false}, {"https://shop.example:443", false}, {"http://localhost.example:80", false},
	} {
		u, err := upstream().parse(c.text)
		if err != nil || u.Local() != c.local {
			t.Errorf("upstream %q local %v, %v, want %v", c.text, u.Local(), err, c.local)
		}
	}
	for _, bad := range []string{"", "http://", "http://a", "http://a:0", "http://a:99999", "http://a:80/", "http://a:80?x", "http://a:80#x", "http://u@a:80", "http://[::]:80",
		"http://0.0.0.0:80", "unix:", "unix:a", "unix:/a/../b", "unix:/", "unix://a", "HTTP://a:80x", "http://a b:80", "http://a:080"} {
		if u, err := upstream().parse(bad); err == nil {
			t.Errorf("upstream %q = %+v, want an error", bad, u)
		}
	}
}

// TestNothingIsPrintedThatMayBeSecret plants a word wherever a secret can be
// written by mistake.
func TestNothingIsPrintedThatMayBeSecret(t *testing.T) {
	const word = "hunter2"
	for _, text := range []string{
		"zone: shop.example\nstore: {postgres: hunter2}\n",
		"zone: shop.example\nstore: {postgres: \"postgres://a:hunter2@b/c\"}\n",
		"zone: shop.example\nstore: {postgres: {env: \"hunter2 x\"}}\n",
		"zone: shop.example\nstore: {postgres: {env: 'hunter2-x'}}\n",
		"zone: shop.example\nstore: {postgres: [hunter2]}\n",
		"zone: shop.example\nstore: {postgres: {url: hunter2}}\n",
		"zone: shop.example\nidentity: {mail: {smtp: smtps://a:hunter2@b, from: \"a:hunter2@b\"}}\n",
		"zone: shop.example\nidentity: {client_secret: hunter2}\n",
		"zone: shop.example\nservices: {a: {upstream: \"http://a:hunter2@b:80\"}}\n",
		"zone: shop.example\nservices: {a: {upstream: \"http://a:hunter2@b:80:80\"}}\n",
		"zone: shop.example\nservices: {a: {upstream: \"redis://:hunter2@b:80\"}}\n",
		"zone: shop.example\nservices: {a: {upstream: \"http://a:80?token=hunter2\"}}\n",
		"zone: shop.example\nservices: {a: {egress: [\"https://a:hunter2@b\"]}}\n",
		"zone: shop.example\nexport: [{otlp: \"https://a/?token=hunter2\"}, {otlp: \"https://hunter2@a\"}]\n",
		"zone: \"a:hunter2@b\"\n",
		"zone: shop.example\nstore: {postgres: \"hunter2\n",
		"zone: shop.example\nstore: {postgres: hunter2: b}\n",
	} {
		_, err := Parse("map", []byte(text))
		if err == nil {
			t.Errorf("no error:\n%s", text)
			continue
		}
		for i := 0; i+len(word) <= len(err.Error()); i++ {
			if err.Error()[i:i+len(word)] == word {
				t.Errorf("the secret is printed: %s", err)
				break
			}
		}
	}
}
