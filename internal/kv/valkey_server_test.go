package kv_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"sallyport.dev/internal/kv"
	"sallyport.dev/internal/kv/valkeytest"
	"sallyport.dev/zone"
)

// Servers that cannot keep the promises are refused, with the mend.
func TestValkeyRefusesServers(t *testing.T) {
	for _, c := range []struct {
		name string
		args []string
		want string // in the error; empty: it is taken
	}{
		{"as it comes", nil, ""},
		{"bounded", []string{"--maxmemory", "64mb"}, ""},
		{"evicts", []string{"--maxmemory-policy", "allkeys-lru"}, "maxmemory-policy noeviction"},
		{"evicts what has a life", []string{"--maxmemory", "64mb", "--maxmemory-policy", "volatile-ttl"}, "maxmemory-policy noeviction"},
		{"replica", []string{"--replicaof", "127.0.0.1 1"}, "name the primary"},
		{"cluster", []string{"--cluster-enabled", "yes"}, "cluster"},
		{"cannot be written", []string{"--min-replicas-to-write", "1"}, "NOREPLICAS"},
		{"password missing", []string{"--requirepass", "hunter2"}, "NOAUTH"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := valkeytest.Start(t, c.args...)
			v, err := kv.OpenValkey(t.Context(), s.URL(), kv.ValkeyOptions{Zone: "shop", Timeout: patience})
			if err == nil {
				defer v.Close()
			}
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("open: %v, want %q", err, c.want)
			}
		})
	}
}

func TestValkeyUnreachable(t *testing.T) {
	for _, u := range []string{
		fmt.Sprintf("redis://:hunter2@127.0.0.1:%d", valkeytest.FreePort(t)),
		"unix://:hunter2@" + t.TempDir() + "/none",
	} {
		_, err := kv.OpenValkey(t.Context(), u, kv.ValkeyOptions{Zone: "shop", Timeout: patience})
		if !errors.Is(err, kv.ErrUnavailable) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("open: %v, want ErrUnavailable and no password", err)
		}
	}
}

// A server that begins to evict gets no more nonces; limits go on.
func TestValkeyBeginsToEvict(t *testing.T) {
	s := valkeytest.Start(t)
	v := openValkey(t, s.URL(), kv.ValkeyOptions{})
	for _, policy := range []string{"noeviction", "allkeys-lru", "noeviction"} {
		s.Do("CONFIG", "SET", "maxmemory-policy", policy)
		v.Inspect()
		_, err := v.SetNX(t.Context(), "once "+policy, time.Minute)
		if evicts := policy != "noeviction"; errors.Is(err, kv.ErrUnavailable) != evicts {
			t.Errorf("%s: %v, want ErrUnavailable: %v", policy, err, evicts)
		}
		if _, err := v.Take(t.Context(), "key", hourly, time.Now()); err != nil || v.Away() {
			t.Errorf("%s: take: %v, away %v", policy, err, v.Away())
		}
	}
}

// A server without room refuses nonces and forgets none; limits go by shares.
func TestValkeyFull(t *testing.T) {
	s := valkeytest.Start(t)
	v := openValkey(t, s.URL(), kv.ValkeyOptions{})
	f := kv.NewFallback(v, kv.NewMemory(time.Now, 100))
	ctx := t.Context()
	if ok, err := v.SetNX(ctx, "first", time.Hour); !ok || err != nil {
		t.Fatalf("control: %v, %v", ok, err)
	}
	if r, err := f.Take(ctx, "key", hourly, time.Now()); !r.Allowed || err != nil || r.Remaining != 99 {
		t.Fatalf("control: %+v, %v", r, err)
	}
	s.Do("CONFIG", "SET", "maxmemory", "1")
	if ok, err := v.SetNX(ctx, "second", time.Hour); ok || !errors.Is(err, kv.ErrFull) {
		t.Errorf("set once in a full server: %v, %v, want ErrFull", ok, err)
	}
	if _, err := v.Take(ctx, "key", hourly, time.Now()); !errors.Is(err, kv.ErrFull) {
		t.Errorf("take in a full server: %v, want ErrFull", err)
	}
	if r, err := f.Take(ctx, "key", hourly, time.Now()); !r.Allowed || err != nil || !f.Local() {
		t.Errorf("fallback: %+v, %v, local %v, want allowed here", r, err, f.Local())
	}
	if _, there, err := v.Get(ctx, "first"); !there || err != nil {
		t.Errorf("get from a full server: %v, %v, want the nonce", there, err)
	}
	if err := v.Publish(ctx, "news", nil); err != nil {
		t.Errorf("publish in a full server: %v", err)
	}
	if err := v.Delete(ctx, "other"); err != nil {
		t.Errorf("delete in a full server: %v", err)
	}
	s.Do("CONFIG", "SET", "maxmemory", "0")
	eventually(t, "there is room again", func() bool { return !f.Local() })
	if ok, err := v.SetNX(ctx, "first", time.Hour); ok || err != nil {
		t.Errorf("the first nonce again: %v, %v, want false", ok, err)
	}
}

// A primary that becomes a replica answers nothing any more.
func TestValkeyBecomesReplica(t *testing.T) {
	s := valkeytest.Start(t)
	v := openValkey(t, s.URL(), kv.ValkeyOptions{})
	if err := v.Set(t.Context(), "key", []byte("old"), time.Hour); err != nil {
		t.Fatal(err)
	}
	s.Do("REPLICAOF", "127.0.0.1", "1")
	if b, ok, err := v.Get(t.Context(), "key"); !errors.Is(err, kv.ErrUnavailable) {
		t.Errorf("get from a replica: %q, %v, %v, want ErrUnavailable", b, ok, err)
	}
	s.Do("REPLICAOF", "NO", "ONE")
	eventually(t, "it is a primary again", func() bool { return !v.Away() })
	if b, _, err := v.Get(t.Context(), "key"); string(b) != "old" || err != nil {
		t.Errorf("get: %q, %v, want old", b, err)
	}
}

// rights are what a server's user needs; docs/guide prints them.
const rights = "on >%s resetkeys ~sallyport:shop:* resetchannels &sallyport:shop:* -@all " +
	"+ping +info +eval +evalsha +time +get +set +getex +del +publish +subscribe +unsubscribe +zadd +zremrangebyscore +zcard +zrem +pexpire +pttl"

// The documented rights are enough, and none of them is too much to need.
func TestValkeyRights(t *testing.T) {
	const password = "p/w:@?#ä %hunter2"
	s := valkeytest.Start(t)
	at := func(password string) string {
		return "unix://gateway:" + url.QueryEscape(strings.ReplaceAll(password, " ", "")) + "@" + s.Socket()
	}
	clean := strings.ReplaceAll(password, " ", "")
	grant := func(extra ...string) {
		args := []any{"ACL", "SETUSER", "gateway", "reset"}
		for r := range strings.FieldsSeq(fmt.Sprintf(rights, clean)) {
			args = append(args, r)
		}
		for _, r := range extra {
			args = append(args, r)
		}
		s.Do(args...)
	}
	grant()
	all := func(listening context.Context, v *kv.Valkey) error {
		_, err1 := v.Take(t.Context(), "key", zone.Rate{Count: 1000, Window: time.Minute}, time.Now())
		_, err2 := v.SetNX(t.Context(), "once", time.Minute)
		_, _, err3 := v.Get(t.Context(), "once")
		sub, err4 := v.Subscribe(listening, "news")
		if sub != nil {
			sub.Close()
		}
		return errors.Join(err1, err2, err3, v.Delete(t.Context(), "once"), err4, v.Publish(t.Context(), "news", nil))
	}
	v := openValkey(t, at(password), kv.ValkeyOptions{})
	if err := all(t.Context(), v); err != nil {
		t.Errorf("with the documented rights: %v", err)
	}
	for _, w := range v.Warnings() {
		if strings.Contains(w, "cannot see maxmemory-policy") {
			t.Errorf("warning %q", w)
		}
	}
	grant("-info")
	blind := openValkey(t, at(password), kv.ValkeyOptions{})
	if w := strings.Join(blind.Warnings(), "; "); !strings.Contains(w, "cannot see maxmemory-policy") {
		t.Errorf("a server that does not tell its settings: warnings %q, want one", w)
	}
	refused := regexp.MustCompile("NOPERM|ACL|can't run this command") // of a command, or of a script: as versions word it
	for right := range strings.FieldsSeq("-evalsha -time -get -set -zadd &other") {
		if right == "&other" {
			grant("resetchannels", right)
		} else {
			grant(right)
		}
		v, err := kv.OpenValkey(t.Context(), at(password), kv.ValkeyOptions{Zone: "shop", Timeout: patience})
		if err == nil {
			brief, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond) // a channel that is not granted gives no answer
			err = all(brief, v)
			cancel()
			_ = v.Close()
		}
		if err == nil || !refused.MatchString(err.Error()) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("with %s: %v, want the server's refusal and no password", right, err)
		}
	}
	grant()
	_, err := kv.OpenValkey(t.Context(), at("wrong hunter2"), kv.ValkeyOptions{Zone: "shop", Timeout: patience})
	if err == nil || !strings.Contains(err.Error(), "WRONGPASS") || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("wrong password: %v, want WRONGPASS and no password", err)
	}
	_, err = kv.OpenValkey(t.Context(), at(password), kv.ValkeyOptions{Zone: "other", Timeout: patience})
	if err == nil || !strings.Contains(err.Error(), "NOPERM") {
		t.Errorf("another zone's keys: %v, want NOPERM", err)
	}
}

// The server's clock is set back: counters stand still for a while, or move.
func TestValkeyClockSetBack(t *testing.T) {
	s := valkeytest.Start(t)
	rate := zone.Rate{Count: 3, Window: time.Minute}
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, c := range []struct {
		name string
		back time.Duration
	}{{"a little", 20 * time.Second}, {"a year", 365 * 24 * time.Hour}} {
		v := openValkey(t, s.URL(), kv.ValkeyOptions{})
		v.UseSteppedTime()
		stepped := start.Add(-c.back)
		wide := rate.Window + rate.Window/8
		for i, step := range []struct {
			at   time.Time
			want bool
		}{
			{start, true},
			{start, true},
			{stepped, true},
			{stepped, false},
			{stepped.Add(rate.Window), false}, // nothing was forgotten by the step
			{stepped.Add(min(c.back, wide) + wide + time.Second), true},
		} {
			r, err := v.Take(t.Context(), c.name, rate, step.at)
			if err != nil || r.Allowed != step.want {
				t.Errorf("set back %s, take %d: %+v, %v, want allowed %v", c.name, i, r, err, step.want)
			}
		}
	}
}

// Over TLS, and only with a server that is the one that is named.
func TestValkeyTLS(t *testing.T) {
	u, roots := valkeytest.StartTLS(t)
	v := openValkey(t, u, kv.ValkeyOptions{TLS: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}})
	if r, err := v.Take(t.Context(), "key", hourly, time.Now()); err != nil || !r.Allowed {
		t.Errorf("take: %+v, %v, want allowed", r, err)
	}
	sub, err := v.Subscribe(t.Context(), "news")
	if err != nil {
		t.Fatal(err)
	}
	if err := v.Publish(t.Context(), "news", []byte("x")); err != nil || string(<-sub.C) != "x" {
		t.Errorf("publish: %v", err)
	}
	for name, c := range map[string]*tls.Config{
		"unknown root": nil,
		"another name": {RootCAs: roots, ServerName: "kv.example", MinVersion: tls.VersionTLS12},
	} {
		if _, err := kv.OpenValkey(t.Context(), u, kv.ValkeyOptions{Zone: "shop", Timeout: patience, TLS: c}); err == nil || !strings.Contains(err.Error(), "certificate") {
			t.Errorf("%s: %v, want it refused by its certificate", name, err)
		}
	}
}

// On a port of loopback in clear, too.
func TestValkeyTCP(t *testing.T) {
	s := valkeytest.StartTCP(t)
	v := openValkey(t, s.TCP(), kv.ValkeyOptions{})
	if r, err := v.Take(t.Context(), "key", hourly, time.Now()); err != nil || !r.Allowed {
		t.Errorf("take: %+v, %v, want allowed", r, err)
	}
}

func BenchmarkValkeyTake(b *testing.B) {
	s := valkeytest.StartTCP(b)
	v := openValkey(b, s.TCP(), kv.ValkeyOptions{Timeout: 5 * time.Second})
	rate := zone.Rate{Count: 1 << 30, Window: time.Minute}
	var names [1000]string
	for i := range names {
		names[i] = fmt.Sprintf("route POST /orders|user %d", i)
	}
	b.Run("one", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			if _, err := v.Take(b.Context(), names[i%len(names)], rate, time.Time{}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("many", func(b *testing.B) {
		b.ReportAllocs()
		b.SetParallelism(64)
		b.RunParallel(func(p *testing.PB) {
			for i := 0; p.Next(); i++ {
				if _, err := v.Take(b.Context(), names[i%len(names)], rate, time.Time{}); err != nil {
					b.Error(err)
				}
			}
		})
	})
}
