package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sallyport.dev/internal/kv/valkeytest"
	"sallyport.dev/internal/store/pgtest"
)

// pair is what serves a zone whose tests are run over two processes: two of them,
// over the same engines, by the same map. They stand for two hosts: each has a data
// and a run folder of its own and listens on an address of its own, 127.0.0.2 or
// 127.0.0.3, which is all that their maps differ in. Where the test's map has a
// listener, and where its Workload API is, there is a front. The test's data folder
// is that of the first, who has the root key beside it.
type pair struct {
	each   [2]*zoned
	fronts []*front
	verbs  atomic.Uint32 // of the command line, which asks them in turn
}

// isTwin says whether a test is run over two processes.
func isTwin(t testing.TB) bool { return strings.HasPrefix(t.Name(), twinsSuite+"/") }

// overTwo makes the zone one of two processes.
func (z *zoned) overTwo() {
	z.t.Helper()
	z.text += storeKey
	z.write("pg.url", pgtest.Shared(z.t).Database(z.t)+"\n")
	z.write("valkey.url", valkeytest.Start(z.t).URL()+"\n")
	z.pair = &pair{}
	for i, name := range []string{"one", "two"} {
		run, err := os.MkdirTemp("", "sallyport-e2e-run-")
		if err != nil {
			z.t.Fatal(err)
		}
		z.t.Cleanup(func() { _ = os.RemoveAll(run) })
		z.pair.each[i] = &zoned{t: z.t, bin: z.bin, dir: z.dir, runDir: run, mapFile: name + "-zone.yaml", data: z.data}
	}
	z.pair.each[1].data += "-two"
	z.t.Cleanup(z.pair.closeFronts)
}

var listenerMark = regexp.MustCompile(`address: "?@([a-z0-9]+)@`)

// stand puts fronts where the listeners of the map are to be.
func (z *zoned) stand() {
	z.t.Helper()
	z.pair.closeFronts()
	for _, w := range z.pair.each {
		w.address = maps.Clone(z.address)
	}
	for _, m := range listenerMark.FindAllStringSubmatch(z.text, -1) {
		for name := m[1]; z.pair.each[0].address[name] == ""; {
			address := freeAddress(z.t)
			var to []string
			for i, w := range z.pair.each {
				w.address[name] = hostOf(i) + ":" + portOf(address)
				to = append(to, w.address[name])
			}
			f, err := listenFront(address, to...)
			if err != nil { // somebody else was quicker
				delete(z.pair.each[0].address, name)
				continue
			}
			z.address[name] = address
			z.pair.fronts = append(z.pair.fronts, f)
		}
	}
	const api = "workload.sock"
	f, err := listenFront(filepath.Join(z.runDir, api), filepath.Join(z.pair.each[0].runDir, api), filepath.Join(z.pair.each[1].runDir, api))
	if err != nil {
		z.t.Fatal(err)
	}
	z.pair.fronts = append(z.pair.fronts, f)
}

func hostOf(i int) string { return "127.0.0." + strconv.Itoa(2+i) }

func (p *pair) closeFronts() {
	for _, f := range p.fronts {
		f.close()
	}
	p.fronts = nil
}

// share writes the map of each process: the test's, with its own addresses.
func (z *zoned) share(text string) {
	z.t.Helper()
	if !strings.Contains(text, storeKey) { // the test wrote it, who knows nothing of engines
		text += storeKey
	}
	for _, w := range z.pair.each {
		own := text
		for name, address := range z.address {
			if w.address[name] != "" {
				own = strings.ReplaceAll(own, address, w.address[name])
			}
		}
		z.write(w.mapFile, own)
	}
}

// launchBoth starts the two at once, as after a cut of the power.
func (z *zoned) launchBoth() {
	z.t.Helper()
	z.stderr, z.exited = &syncBuffer{}, make(chan struct{})
	for i, w := range z.pair.each {
		w.stderr, w.also, w.flags = &syncBuffer{}, z.stderr, z.flags
		if i > 0 {
			w.flags = append(slices.Clone(z.flags), "--root-key", z.data+".root")
		}
		w.serve()
	}
	z.cmd = z.pair.each[0].cmd
	exited, one, two := z.exited, z.pair.each[0], z.pair.each[1]
	go func() {
		<-one.exited
		<-two.exited
		z.err = errors.Join(one.err, two.err)
		close(exited)
	}()
}

// ready says whether status says so of each process. Where one has ended the
// other is ended too.
func (z *zoned) ready() bool {
	z.t.Helper()
	all := z.each()
	if slices.ContainsFunc(all, func(w *zoned) bool { return isClosed(w.exited) }) {
		for _, w := range all {
			_ = w.cmd.Process.Kill() // fails for those that have ended
		}
	}
	return !slices.ContainsFunc(all, func(w *zoned) bool {
		c, err := net.Dial("unix", filepath.Join(w.data, "admin.sock"))
		if err != nil { // too early to run a program for it
			return true
		}
		_ = c.Close()
		_, _, code := z.exec("status", "--data", w.data)
		return code != 0
	})
}

// each are the processes of the zone.
func (z *zoned) each() []*zoned {
	if z.pair == nil {
		return []*zoned{z}
	}
	return z.pair.each[:]
}

// runAtOne runs a verb on one of the data folders in turn. What takes rights is
// known to both processes when it returns. The records are those of all.
func (z *zoned) runAtOne(args []string) (stdout, stderr string, code int) {
	z.t.Helper()
	if args[0] == "logs" {
		return z.logsOfAll(args)
	}
	w := z.pair.each[z.pair.verbs.Add(1)%2]
	stdout, stderr, code = z.exec(append(args, "--data", w.data)...)
	if code == 0 && slices.ContainsFunc(args, func(arg string) bool {
		return slices.Contains([]string{"revoke", "--revoke", "grant", "enable", "disable", "password", "remove"}, arg)
	}) {
		z.hear()
	}
	return stdout, stderr, code
}

// hear waits until what one process has done to rights is known to both, as status
// tells, and returns how long that took. After it a test may ask whom it likes.
func (z *zoned) hear() time.Duration {
	z.t.Helper()
	done := time.Now()
	for _, w := range z.pair.each {
		admin := &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(w.data, "admin.sock"))
		}}}
		until(z.t, "a process has heard of it", func() bool {
			res, err := admin.Get("http://admin/v1/status")
			if err != nil {
				return isClosed(w.exited) // the test ends it, just now
			}
			defer res.Body.Close()
			var s struct{ Revocations struct{ Heard time.Time } }
			if err := json.NewDecoder(res.Body).Decode(&s); err != nil {
				z.t.Fatalf("status: %v", err)
			}
			return s.Revocations.Heard.After(done)
		})
	}
	return time.Since(done)
}
