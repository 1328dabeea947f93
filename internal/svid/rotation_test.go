package svid

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// turn replaces the identity of a source at every half life until the test ends.
func turn(t *testing.T, zone *authority, s *Source, name string, life time.Duration) {
	i := zone.identity(name, time.Now(), life)
	s.Set(i)
	go func() {
		// Certificates end at whole seconds: what is left counts, as for Join.
		for sleepUntil(t.Context(), time.Now, halfway(time.Now(), i)) == nil {
			i = zone.identity(name, time.Now(), life)
			s.Set(i)
		}
	}()
}

// onceOnly is a body that cannot be sent a second time.
type onceOnly struct{ io.Reader }

// TestRotationUnderLoad: both sides live on certificates of two seconds and have
// a new one every second, requests with bodies that cannot be repeated run all
// the time and longer than connections idle, and none is lost.
func TestRotationUnderLoad(t *testing.T) {
	const life, span, workers = 2 * time.Second, 12 * time.Second, 6
	for proto, base := range protocols() {
		synctest.Test(t, func(t *testing.T) {
			zone := newAuthority(t, testZone, time.Now())
			orders, gateway := NewSource(nil), NewSource(nil)
			turn(t, zone, orders, "orders", life)
			turn(t, zone, gateway, "gateway", life)

			var mu sync.Mutex
			clients := map[string]int{} // requests by serial of the client's certificate
			d := openDoor(t, orders, allowAll, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				n, err := io.Copy(io.Discard, r.Body)
				time.Sleep(70 * time.Millisecond)
				peer, ok := PeerFrom(r.Context())
				if err != nil || !ok || time.Now().After(peer.NotAfter) {
					http.Error(w, "refused", http.StatusForbidden)
					return
				}
				mu.Lock()
				clients[peer.Leaf.SerialNumber.String()]++
				mu.Unlock()
				_, _ = fmt.Fprint(w, n)
			}))
			client, _ := clientOf(t, gateway, mustID(t, "orders"), d, base, false)

			servers := map[string]bool{}
			var wg sync.WaitGroup
			sent := 0
			until := time.Now().Add(span)
			for worker := range workers {
				wg.Go(func() {
					for i := 0; time.Now().Before(until); i++ {
						serial, err := post(client, 1000+i)
						mu.Lock()
						sent++
						if err == nil {
							servers[serial.String()] = true
						} else {
							t.Errorf("%s: request %d of worker %d, after %s: %v", proto, i, worker, span-time.Until(until), err)
						}
						mu.Unlock()
						time.Sleep(time.Duration(1+worker*13) * time.Millisecond)
					}
				})
			}
			wg.Wait()
			if sent < 300 || len(clients) < 8 || len(servers) < 8 {
				t.Errorf("%s: %d requests with %d identities of the client and %d of the server, want at least 300, 8 and 8", proto, sent, len(clients), len(servers))
			}
		})
	}
}

func post(c *http.Client, size int) (*big.Int, error) {
	req, err := http.NewRequest("POST", "https://orders.invalid/", onceOnly{bytes.NewReader(make([]byte, size))})
	if err != nil {
		return nil, err
	}
	res, err := c.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK || string(b) != fmt.Sprint(size) {
		return nil, fmt.Errorf("%s %s", res.Status, b)
	}
	return res.TLS.PeerCertificates[0].SerialNumber, nil
}

// TestRetire: a client that does not look after the end of its connections is
// told by the server, and loses nothing in HTTP/1.1 either.
func TestRetire(t *testing.T) {
	for proto, base := range protocols() {
		synctest.Test(t, func(t *testing.T) {
			zone := newAuthority(t, testZone, time.Now())
			orders, gateway := NewSource(nil), NewSource(nil)
			turn(t, zone, orders, "orders", 2*time.Second)
			turn(t, zone, gateway, "gateway", 2*time.Second)
			d := openDoor(t, orders, allowAll, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				n, _ := io.Copy(io.Discard, r.Body)
				time.Sleep(90 * time.Millisecond) // most of the time one is under way
				_, _ = fmt.Fprint(w, n)
			}))
			base.IdleConnTimeout = time.Second / 2
			client, conns := clientOf(t, gateway, mustID(t, "orders"), d, base, true)
			most := 0
			for i := range 100 {
				if _, err := post(client, 10); err != nil {
					t.Errorf("%s: request %d: %v", proto, i, err)
				}
				most = max(most, conns.Len())
				time.Sleep(7 * time.Millisecond)
			}
			if most > 2 {
				t.Errorf("%s: up to %d connections at once, want the old and the new", proto, most)
			}
		})
	}
}

// TestTransportAlone: the client's care suffices where only the server's
// certificate is short and the server says nothing.
func TestTransportAlone(t *testing.T) {
	for proto, base := range protocols() {
		synctest.Test(t, func(t *testing.T) {
			zone := newAuthority(t, testZone, time.Now())
			orders := NewSource(nil)
			turn(t, zone, orders, "orders", 2*time.Second)
			d := openDoor(t, orders, allowAll, nil)
			d.server.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { // no Retire
				n, _ := io.Copy(io.Discard, r.Body)
				time.Sleep(90 * time.Millisecond)
				_, _ = fmt.Fprint(w, n)
			})
			client, _ := clientOf(t, zone.source("gateway", time.Now), mustID(t, "orders"), d, base, false)
			for i := range 100 {
				if _, err := post(client, 10); err != nil {
					t.Errorf("%s: request %d: %v", proto, i, err)
				}
				time.Sleep(7 * time.Millisecond)
			}
		})
	}
}

// TestTransportWithoutIdentity: it says so and closes the body.
func TestTransportWithoutIdentity(t *testing.T) {
	tr := NewTransport(NewSource(nil), mustID(t, "orders"), NewConns(nil), &http.Transport{})
	body := &closing{}
	req, err := http.NewRequest("POST", "https://orders.invalid/", body)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tr.RoundTrip(req); err == nil || !body.closed {
		t.Errorf("RoundTrip = %v, body closed %v; want an error and true", err, body.closed)
	}
	tr.CloseIdleConnections()
}

type closing struct {
	bytes.Reader
	closed bool
}

func (c *closing) Close() error { c.closed = true; return nil }

// TestTransportTakesTheNewIdentity: from the next request on.
func TestTransportTakesTheNewIdentity(t *testing.T) {
	for proto, base := range protocols() {
		synctest.Test(t, func(t *testing.T) {
			zone := newAuthority(t, testZone, time.Now())
			gateway := zone.source("gateway", time.Now)
			var seen []*big.Int
			d := openDoor(t, zone.source("orders", time.Now), allowAll, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				peer, _ := PeerFrom(r.Context())
				seen = append(seen, peer.Leaf.SerialNumber)
			}))
			client, conns := clientOf(t, gateway, mustID(t, "orders"), d, base, false)
			for range 3 {
				next := zone.identity("gateway", time.Now(), time.Hour)
				gateway.Set(next)
				for range 2 {
					if _, err := say(client); err != nil {
						t.Fatal(err)
					}
					if last := seen[len(seen)-1]; last.Cmp(next.Certificate.Leaf.SerialNumber) != 0 {
						t.Errorf("%s: request %d came with %x, want the new certificate %x", proto, len(seen), last, next.Certificate.Leaf.SerialNumber)
					}
				}
				synctest.Wait()
				if n := conns.Len(); n != 1 {
					t.Errorf("%s: %d connections, want the new one only", proto, n)
				}
			}
		})
	}
}

// TestTransportKeepsOneConnection: as long as nothing changes, and when the
// identity cannot be renewed until its end.
func TestTransportKeepsOneConnection(t *testing.T) {
	for proto, base := range protocols() {
		synctest.Test(t, func(t *testing.T) {
			zone := newAuthority(t, testZone, time.Now())
			gateway := NewSource(nil)
			gateway.Set(zone.identity("gateway", time.Now(), time.Hour))
			dialled := 0
			d := openDoor(t, zone.source("orders", time.Now), allowAll, http.HandlerFunc(whoIsIt))
			counting := base.Clone()
			client, conns := clientOf(t, gateway, mustID(t, "orders"), d, counting, false)
			inner := client.Transport.(*Transport).base
			dial := inner.DialContext
			inner.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
				dialled++
				return dial(ctx, network, addr)
			}
			for range 57 * 2 {
				if _, err := say(client); err != nil {
					t.Fatal(err)
				}
				time.Sleep(30 * time.Second)
			}
			if dialled != 1 || conns.Len() != 1 {
				t.Errorf("%s: %d connections made in 57 minutes, %d open; want 1 and 1", proto, dialled, conns.Len())
			}
			for range 5 {
				if _, err := say(client); err != nil {
					t.Fatal(err)
				}
				time.Sleep(30 * time.Second)
			}
			if dialled < 2 || dialled > 7 {
				t.Errorf("%s: %d connections made in the last minutes of an identity, want 2 to 7", proto, dialled)
			}
		})
	}
}
