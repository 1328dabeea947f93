package gateway

import (
	"bufio"
	"io"
	"net/http"
	"strings"
	"testing"

	"sallyport.dev/internal/upstream/upstreamtest"
	"sallyport.dev/zone"
)

// The whole way, over both protocols: what is sent arrives, and an early refusal
// is heard.
func TestUploadThroughTheDoor(t *testing.T) {
	body := strings.Repeat("0123456789abcdef", 600<<10/16)
	s := upstreamtest.Listen(t, "tcp", func(c *upstreamtest.Conn) {
		for {
			head, ok := c.Head()
			if !ok {
				return
			}
			if strings.HasPrefix(head, "POST /refused ") {
				c.Say("HTTP/1.1 403 No\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")
				c.Stay()
				return
			}
			if strings.HasPrefix(head, "POST /broken ") {
				_, _ = io.CopyN(io.Discard, c.R, 100<<10)
				return
			}
			r, err := http.ReadRequest(bufio.NewReader(io.MultiReader(strings.NewReader(head), c.R)))
			if err != nil {
				return
			}
			got, err := io.ReadAll(r.Body)
			if err != nil || string(got) != body {
				c.Say("HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n")
				return
			}
			c.Say(upstreamtest.Sized("whole"))
			if r.ContentLength < 0 { // the reader above may have taken what follows
				return
			}
		}
	})
	d := openDoor(t, []*zone.Route{anything("POST")}, behind(s))
	for _, http2 := range []bool{false, true} {
		for _, known := range []bool{true, false} {
			var rd io.Reader = strings.NewReader(body)
			if !known {
				rd = io.MultiReader(rd) // hides the length from net/http
			}
			resp, err := d.client(http2).Post("https://shop.example/taken", "text/plain", rd)
			if err != nil {
				t.Fatalf("http2 %v, known %v: %v", http2, known, err)
			}
			got, err := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			if resp.StatusCode != 200 || string(got) != "whole" || err != nil {
				t.Errorf("http2 %v, known %v: got %d %q %v", http2, known, resp.StatusCode, got, err)
			}
			if r := d.last(); r.BytesIn != int64(len(body)) || r.Reason != "ok" {
				t.Errorf("http2 %v, known %v: record %+v", http2, known, r)
			}
		}
		// An HTTP/1 client may find the connection closed while it still writes; the
		// record tells what it was told.
		early := func(path string, body io.Reader, status int, reason string) {
			resp, err := d.client(http2).Post("https://shop.example"+path, "text/plain", body)
			if err == nil {
				_ = resp.Body.Close()
			}
			if err != nil && http2 || err == nil && resp.StatusCode != status {
				t.Errorf("%s, http2 %v: got %v %v, want %d", path, http2, resp, err, status)
			}
			if r := d.last(); r.Status != status || r.Reason != reason {
				t.Errorf("%s, http2 %v: record %+v, want %d %s", path, http2, r, status, reason)
			}
		}
		early("/broken", strings.NewReader(body), 502, "upstream.protocol")
		pr, pw := io.Pipe() // a body that never ends
		go func() {
			for {
				if _, err := io.WriteString(pw, "more"); err != nil {
					return
				}
			}
		}()
		early("/refused", pr, 403, "ok")
		_ = pr.Close()
	}
}
