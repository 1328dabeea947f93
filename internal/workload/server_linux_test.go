package workload

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// source is the stock client, for the service of that name.
func source(t *testing.T, r *running, name string) *workloadapi.X509Source {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	s, err := workloadapi.NewX509Source(ctx, workloadapi.WithClientOptions(workloadapi.WithAddr("unix://"+r.path)),
		workloadapi.WithDefaultX509SVIDPicker(func(all []*x509svid.SVID) *x509svid.SVID {
			for _, s := range all {
				if s.Hint == name {
					return s
				}
			}
			return nil
		}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestStockClient(t *testing.T) {
	r := start(t, newAuthority(t, time.Hour), Limits{}, Entry{Service: "catalog"}, Entry{Service: "orders"})
	catalog, orders := source(t, r, "catalog"), source(t, r, "orders")
	for name, s := range map[string]*workloadapi.X509Source{"catalog": catalog, "orders": orders} {
		svid, err := s.GetX509SVID()
		if err != nil {
			t.Fatal(err)
		}
		if got, want := svid.ID.String(), "spiffe://shop.example/"+name; got != want {
			t.Errorf("ID %s, want %s", got, want)
		}
	}
	for _, c := range []struct {
		wanted string
		ok     bool
	}{{"orders", true}, {"catalog", false}} { // of the server, which is orders
		want := spiffeid.RequireFromString("spiffe://shop.example/" + c.wanted)
		a, b := net.Pipe()
		served := make(chan error, 1)
		go func() {
			srv := tls.Server(a, tlsconfig.MTLSServerConfig(orders, orders, tlsconfig.AuthorizeID(spiffeid.RequireFromString("spiffe://shop.example/catalog"))))
			_, err := io.Copy(srv, srv)
			served <- errors.Join(err, srv.Close())
		}()
		cli := tls.Client(b, tlsconfig.MTLSClientConfig(catalog, catalog, tlsconfig.AuthorizeID(want)))
		err := cli.HandshakeContext(t.Context())
		if err == nil {
			_, err = cli.Write([]byte("hello"))
		}
		if err == nil {
			_, err = io.ReadFull(cli, make([]byte, 5))
		}
		if (err == nil) != c.ok {
			t.Errorf("mutual TLS, wanting %s of orders: %v, want ok %v", c.wanted, err, c.ok)
		}
		_ = b.Close()
		<-served
	}
}

func TestHeader(t *testing.T) {
	r := start(t, newAuthority(t, time.Hour), Limits{}, Entry{Service: "catalog"})
	api, _ := r.connect(t, nil)
	calls := map[string]struct {
		call func(context.Context) error
		with codes.Code // with the header
	}{
		"FetchX509SVID": {func(ctx context.Context) error {
			s, err := api.FetchX509SVID(ctx, &workload.X509SVIDRequest{})
			if err == nil {
				_, err = s.Recv()
			}
			return err
		}, codes.OK},
		"FetchX509Bundles": {func(ctx context.Context) error {
			s, err := api.FetchX509Bundles(ctx, &workload.X509BundlesRequest{})
			if err == nil {
				_, err = s.Recv()
			}
			return err
		}, codes.OK},
		"FetchJWTSVID": {func(ctx context.Context) error {
			_, err := api.FetchJWTSVID(ctx, &workload.JWTSVIDRequest{Audience: []string{"a"}})
			return err
		}, codes.Unimplemented},
		"ValidateJWTSVID": {func(ctx context.Context) error {
			_, err := api.ValidateJWTSVID(ctx, &workload.ValidateJWTSVIDRequest{Svid: strings.Repeat("a", 10_000), Audience: "a"})
			return err
		}, codes.Unimplemented},
		"FetchJWTBundles": {func(ctx context.Context) error {
			s, err := api.FetchJWTBundles(ctx, &workload.JWTBundlesRequest{})
			if err == nil {
				_, err = s.Recv()
			}
			return err
		}, codes.Unimplemented},
		"FetchWITSVID": {func(ctx context.Context) error {
			s, err := api.FetchWITSVID(ctx, &workload.WITSVIDRequest{})
			if err == nil {
				_, err = s.Recv()
			}
			return err
		}, codes.Unimplemented},
	}
	for name, c := range calls {
		for _, h := range []struct {
			header []string
			want   codes.Code
		}{
			{[]string{header, "true"}, c.with},
			{nil, codes.InvalidArgument},
			{[]string{header, "false"}, codes.InvalidArgument},
			{[]string{header, "TRUE"}, codes.InvalidArgument},
			{[]string{header, "true", header, "true"}, codes.InvalidArgument},
			{[]string{"workload.spiffe.io.x", "true"}, codes.InvalidArgument},
		} {
			ctx, cancel := context.WithTimeout(metadata.AppendToOutgoingContext(t.Context(), h.header...), patience)
			if got := status.Code(c.call(ctx)); got != h.want {
				t.Errorf("%s with %v: %v, want %v", name, h.header, got, h.want)
			}
			cancel()
		}
	}
}

func TestBundles(t *testing.T) {
	r := start(t, newAuthority(t, time.Hour), Limits{}, Entry{Service: "catalog"})
	api, _ := r.connect(t, nil)
	stream, err := api.FetchX509Bundles(asked(t), &workload.X509BundlesRequest{})
	if err != nil {
		t.Fatal(err)
	}
	svids := open(t, api)
	before := receive(t, svids, "catalog")
	old := r.ca.Roots()[0]
	wantBundle := func(want ...*x509.Certificate) {
		t.Helper()
		m, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		var raw []byte
		for _, c := range want {
			raw = append(raw, c.Raw...)
		}
		if len(m.Bundles) != 1 || !bytes.Equal(m.Bundles["spiffe://shop.example"], raw) {
			t.Errorf("bundles %v, want %d roots of spiffe://shop.example", m.Bundles, len(want))
		}
	}
	wantBundle(old)

	added, _ := newRoot(t)
	r.ca.setRoots(old, added)
	r.Refresh()
	wantBundle(old, added)
	after := receive(t, svids, "catalog")
	if !bytes.Equal(after.Svids[0].Bundle, append(bytes.Clone(old.Raw), added.Raw...)) {
		t.Error("the identities came without the added root")
	}
	if got, want := serial(t, after, 0), serial(t, before, 0); got != want {
		t.Errorf("serial %s for an added root, want the same %s", got, want)
	}

	if err := r.SetEntries(nil); err != nil {
		t.Fatal(err)
	}
	refused(t, stream, codes.PermissionDenied)
	refused(t, svids, codes.PermissionDenied)
}

func TestNoEntryFits(t *testing.T) {
	r := start(t, newAuthority(t, time.Hour), Limits{},
		Entry{"catalog", map[string][]string{"uid": {"4711"}, "gid": {"4711"}}},
		Entry{"orders", map[string][]string{"uid": {"0-is-no-name", uidText()}, "path": {"/usr/bin/no-such-orders"}}})
	refused(t, r.fetch(t), codes.PermissionDenied)
	exe, err := filepath.EvalSymlinks("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	wantText(t, r.log.String(), "no identity for a process", "attested.uid="+uidText(), "attested.path="+exe,
		"nearest=orders", "path is "+exe+", wants /usr/bin/no-such-orders")

	if err := r.SetEntries([]Entry{{"orders", map[string][]string{"uid": {uidText()}, "path": {exe}}}}); err != nil {
		t.Fatal(err)
	}
	receive(t, r.fetch(t), "orders") // the positive control
}

func TestRotation(t *testing.T) {
	living(t, 2*time.Second, func(life time.Duration) error {
		r := start(t, newAuthority(t, life), Limits{}, Entry{Service: "catalog"}, Entry{Service: "orders"})
		defer r.stop(t)
		api, dials := r.connect(t, nil)
		stream := open(t, api)
		seen, keys := map[string]bool{}, map[string]bool{}
		for range 3 {
			m, err := tryReceive(t, stream, "catalog", "orders")
			if err != nil {
				return err
			}
			for i, s := range m.Svids {
				seen[serial(t, m, i)], keys[string(s.X509SvidKey)] = true, true
				if end := leaf(t, s).NotAfter; !time.Now().Before(end) {
					return fmt.Errorf("a certificate that has ended at %s", end)
				}
			}
		}
		if len(seen) != 6 || len(keys) != 6 || *dials != 1 {
			return fmt.Errorf("%d serials, %d keys, %d connections in 3 messages of 2, want 6, 6, 1", len(seen), len(keys), *dials)
		}
		return nil
	})
}

func TestEntriesReachOpenStreams(t *testing.T) {
	r := start(t, newAuthority(t, time.Hour), Limits{}, Entry{Service: "catalog"}, Entry{Service: "orders"})
	stream := r.fetch(t)
	first := receive(t, stream, "catalog", "orders")
	set := func(e ...Entry) {
		t.Helper()
		if err := r.SetEntries(e); err != nil {
			t.Fatal(err)
		}
	}
	set(Entry{Service: "orders"}, Entry{Service: "accounts"})
	second := receive(t, stream, "orders", "accounts")
	if got, want := serial(t, second, 0), serial(t, first, 1); got != want {
		t.Errorf("orders has serial %s, want the same %s: nothing of it has changed", got, want)
	}
	set(Entry{Service: "orders"}, Entry{Service: "accounts"}, Entry{"other", map[string][]string{"uid": {"4711"}}}) // nothing for this process
	set(Entry{Service: "accounts"})
	if got, want := serial(t, receive(t, stream, "accounts"), 0), serial(t, second, 1); got != want {
		t.Errorf("accounts has serial %s, want the same %s", got, want)
	}
	set(Entry{"accounts", map[string][]string{"uid": {"4711"}}})
	refused(t, stream, codes.PermissionDenied)
	wantText(t, r.log.String(), "nearest=accounts")
}

func TestRightWithdrawnWhileIssuing(t *testing.T) {
	ca := newAuthority(t, time.Hour)
	r := start(t, ca, Limits{}, Entry{Service: "catalog"})
	ca.meanwhile = func() {
		if err := r.SetEntries(nil); err != nil {
			t.Error(err)
		}
	}
	refused(t, r.fetch(t), codes.PermissionDenied) // with no message before
	if err := r.SetEntries([]Entry{{Service: "catalog"}}); err != nil {
		t.Fatal(err)
	}
	receive(t, r.fetch(t), "catalog") // the positive control
}

func TestIssuerDown(t *testing.T) {
	living(t, 2*time.Second, func(life time.Duration) error {
		ca := newAuthority(t, life)
		ca.breakDown(errBroken)
		r := start(t, ca, Limits{}, Entry{Service: "catalog"})
		defer r.stop(t)
		refused(t, r.fetch(t), codes.Unavailable) // while starting
		wantText(t, r.log.String(), "identities not issued", errBroken.Error())

		ca.breakDown(nil)
		stream := r.fetch(t)
		last, err := tryReceive(t, stream, "catalog")
		if err != nil {
			return err
		}
		ca.breakDown(errBroken)
		if err := stream.RecvMsg(&workload.X509SVIDResponse{}); status.Code(err) != codes.Unavailable {
			return fmt.Errorf("the stream: %v, want that it ends", err)
		}
		if left := time.Until(leaf(t, last.Svids[0]).NotAfter); left > 0 {
			t.Errorf("the stream ended %s before the certificate", left)
		}
		if got := strings.Count(r.log.String(), errBroken.Error()); got < 3 {
			return fmt.Errorf("%d attempts are in the log, want one at the start and several to renew", got)
		}

		ca.breakDown(nil)
		roots := ca.Roots()
		ca.setRoots()
		refused(t, r.fetch(t), codes.Unavailable)
		ca.setRoots(roots...)
		_, err = tryReceive(t, r.fetch(t), "catalog")
		return err
	})
}

func TestRenewalOutlivesAShortFailure(t *testing.T) {
	living(t, 3*time.Second, func(life time.Duration) error {
		ca := newAuthority(t, life)
		r := start(t, ca, Limits{}, Entry{Service: "catalog"})
		defer r.stop(t)
		stream := r.fetch(t)
		first, err := tryReceive(t, stream, "catalog")
		if err != nil {
			return err
		}
		ca.breakDown(errBroken)
		<-ca.refused // the first attempt
		ca.breakDown(nil)
		second, err := tryReceive(t, stream, "catalog")
		if err == nil && serial(t, second, 0) == serial(t, first, 0) {
			t.Error("the renewal brought the same certificate")
		}
		return err
	})
}

func TestBounds(t *testing.T) {
	r := start(t, newAuthority(t, time.Hour), Limits{Connections: 8, ConnectionsPerProcess: 2, StreamsPerProcess: 3}, Entry{Service: "catalog"})
	api, _ := r.connect(t, nil)
	var streams []context.CancelFunc
	openOne := func(api workload.SpiffeWorkloadAPIClient) error {
		ctx, cancel := context.WithCancel(asked(t))
		streams = append(streams, cancel)
		s, err := api.FetchX509SVID(ctx, &workload.X509SVIDRequest{})
		if err == nil {
			_, err = s.Recv()
		}
		return err
	}
	for i := range 3 {
		if err := openOne(api); err != nil {
			t.Fatalf("stream %d: %v", i, err)
		}
	}
	second, _ := r.connect(t, nil)
	if err := openOne(second); status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "too many streams") {
		t.Errorf("the fourth stream, on another connection: %v, want Unavailable", err)
	}
	var err error
	before := openFiles(t)
	for range 20 {
		third, err := net.Dial("unix", r.path)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := third.Read(make([]byte, 1)); n != 0 || err == nil {
			t.Errorf("the third connection is answered: %d, %v", n, err)
		}
		_ = third.Close()
	}
	for end := time.Now().Add(patience); openFiles(t) > before+10; time.Sleep(5 * time.Millisecond) { // it closes them in its own time
		if time.Now().After(end) {
			t.Fatalf("%d open files before 20 refused connections, %d after", before, openFiles(t))
		}
	}
	for _, cancel := range streams {
		cancel()
	}
	waiting := asked(t)
	for err = openOne(api); err != nil; err = openOne(api) { // places come back
		if waiting.Err() != nil || !strings.Contains(err.Error(), "too many streams") {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

func TestPlaces(t *testing.T) {
	d := newDoor(nil, Limits{Connections: 4, ConnectionsPerProcess: 1}, nil)
	first, ok := d.enter(&process{pid: 1, uid: 10})
	if !ok {
		t.Fatal("no place for the first")
	}
	for _, c := range []struct {
		name string
		p    process
		want bool
	}{
		{"the same process", process{pid: 1, uid: 10}, false},
		{"the same user", process{pid: 2, uid: 10}, true},
		{"the same user, beyond half", process{pid: 3, uid: 10}, false},
		{"another user", process{pid: 3, uid: 11}, true},
		{"a third user", process{pid: 4, uid: 12}, true},
		{"all taken", process{pid: 5, uid: 13}, false},
	} {
		if _, ok := d.enter(&c.p); ok != c.want {
			t.Errorf("%s: place %v, want %v", c.name, ok, c.want)
		}
	}
	first()
	if _, ok := d.enter(&process{pid: 1, uid: 10}); !ok {
		t.Error("a place that was given back is not there")
	}
}

func TestEnd(t *testing.T) {
	r := start(t, newAuthority(t, time.Hour), Limits{}, Entry{Service: "catalog"})
	stream := r.fetch(t)
	receive(t, stream, "catalog")
	idle, err := net.Dial("unix", r.path)
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Close()
	r.stop(t)
	refused(t, stream, codes.Unavailable)
	if _, err := net.Dial("unix", r.path); err == nil {
		t.Error("after the end somebody answers")
	}

	l, err := Listen(r.path)
	if err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	s, err := New(Config{Zone: testZone, Issuer: r.ca})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Serve(ended, l); err != nil {
		t.Errorf("a server that has to end at once: %v", err)
	}
	if l, err = Listen(r.path); err != nil {
		t.Fatal(err)
	}
	if err := r.Serve(t.Context(), l); !strings.Contains(errText(err), "once") {
		t.Errorf("a second time: %v, want a refusal", err)
	}
}

func TestBrokenSocket(t *testing.T) {
	s, err := New(Config{Zone: testZone, Issuer: newAuthority(t, time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	l, err := Listen(filepath.Join(runFolder(t), "w.sock"))
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Serve(t.Context(), l); !errors.Is(err, net.ErrClosed) {
		t.Errorf("serve on a closed socket: %v, want that it is closed", err)
	}
}
