package gateway

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"

	"sallyport.dev/zone"
)

// TestAnswersStayApart: on pipelined connections of every kind of request, cut
// anywhere, each request has its own answer and its own record, and what net/http
// refuses comes after all that was answered before.
func TestAnswersStayApart(t *testing.T) {
	kinds := []struct {
		text, method string
		status       int
		last         bool // ends the connection
	}{
		{"GET /a HTTP/1.1\r\nHost: shop.example\r\n\r\n", "GET", 200, false},
		{"HEAD /a HTTP/1.1\r\nHost: shop.example\r\n\r\n", "HEAD", 200, false},
		{"GET /big HTTP/1.1\r\nHost: shop.example\r\n\r\n", "GET", 200, false},
		{"POST /a HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 5\r\n\r\nhello", "POST", 200, false},
		{"POST /a HTTP/1.1\r\nHost: shop.example\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n5\r\nhello\r\n0\r\nX-T: y\r\n\r\n", "POST", 200, false},
		{"POST /a HTTP/1.1\r\nHost: shop.example\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello", "POST", 200, false},
		{"GET /../a HTTP/1.1\r\nHost: shop.example\r\n\r\n", "GET", 400, true},
		{"GET /a HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n", "GET", 200, true},
		{"GET /a HTTP/1.0\r\nHost: shop.example\r\n\r\n", "GET", 200, true},
		{"GET /a HTTP/1.1\r\nHost: shop.example\r\nExpect: more\r\n\r\n", "GET", 400, true},
		{"GET /a HTTP/1.1\r\nHost: shop.example\r\nTransfer-Encoding: gzip\r\n\r\n", "GET", 400, true},
		{"GET /a HTTP/1.1\r\nHost: shop.example\r\nX: " + strings.Repeat("x", 64<<10) + "\r\n\r\n", "GET", 431, true},
		{"GET  /a  HTTP/1.1\r\n\r\n", "GET", 400, true},
		{"GET /a HTTP/2.5\r\nHost: shop.example\r\n\r\n", "GET", 400, true},
		{"POST /a HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!", "GET", 400, true},
		{"POST /panic HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 5\r\n\r\nhello", "POST", 502, false},
	}
	s := newService(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/big":
			_, _ = io.WriteString(w, strings.Repeat("y", 100<<10))
		case "/panic":
			panic(http.ErrAbortHandler)
		default:
			_, _ = io.Copy(io.Discard, r.Body)
			_, _ = io.WriteString(w, "served")
		}
	})
	d := openDoor(t, []*zone.Route{anything("GET"), anything("POST")}, func(c *Config) {
		c.Zone.Services[0].Upstreams[0].Address = s.address
	})
	var mu sync.Mutex
	answered := 0
	var all sync.WaitGroup
	for i := range 60 {
		c := d.dial("shop.example", "http/1.1")
		all.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(i)))
			var text, want []string
			for {
				k := kinds[random.IntN(len(kinds))]
				text, want = append(text, k.text), append(want, fmt.Sprint(k.status))
				if k.last {
					break
				}
			}
			go func() {
				bytes := strings.Join(text, "")
				for len(bytes) > 0 {
					n := 1 + random.IntN(len(bytes))
					if _, err := io.WriteString(c, bytes[:n]); err != nil {
						return
					}
					bytes = bytes[n:]
				}
			}()
			br := bufio.NewReader(c)
			var got []string
			closes := false // said before the last: a body whose end had not come when the answer left
			for len(got) <= len(text) {
				method := "GET"
				if len(got) < len(text) {
					method, _, _ = strings.Cut(text[len(got)], " ")
				}
				res, err := http.ReadResponse(br, &http.Request{Method: method})
				if err != nil {
					break
				}
				if res.StatusCode == 100 {
					continue
				}
				if _, err := io.Copy(io.Discard, res.Body); err != nil {
					t.Errorf("%d: answer %d cut: %v", i, len(got), err)
				}
				if res.Close && len(got) < len(text)-1 {
					closes = true
				}
				got = append(got, fmt.Sprint(res.StatusCode))
			}
			mu.Lock()
			answered += len(got)
			mu.Unlock()
			if !closes && strings.Join(got, " ") != strings.Join(want, " ") {
				t.Errorf("%d: answers %v, want %v; of %.60q", i, got, want, text)
			}
		})
	}
	all.Wait()
	eventually(t, "all handlers have ended", func() bool { return d.gateway.underWay.Load() == 0 })
	if n := len(d.journal.all()); n != answered {
		t.Errorf("%d records of %d answers", n, answered)
	}
}
