package upstream

import (
	"runtime"
	"testing"

	"golang.org/x/net/http2"

	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/upstream/upstreamtest"
)

// A service that floods its connection with frames that mean little costs no memory,
// and keeps nobody else's call from its answer.
func TestCallUnderAFlood(t *testing.T) {
	const frames = 50_000
	for name, flood := range map[string]func(h *upstreamtest.HTTP2, id uint32) error{
		"PING":               func(h *upstreamtest.HTTP2, _ uint32) error { return h.WritePing(false, [8]byte{1}) },
		"answers to no PING": func(h *upstreamtest.HTTP2, _ uint32) error { return h.WritePing(true, [8]byte{9}) },
		"SETTINGS": func(h *upstreamtest.HTTP2, _ uint32) error {
			return h.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 16})
		},
		"RST_STREAM of streams that were":    func(h *upstreamtest.HTTP2, id uint32) error { return h.WriteRSTStream(id-2, http2.ErrCodeCancel) },
		"empty DATA":                         func(h *upstreamtest.HTTP2, id uint32) error { return h.WriteData(id, false, nil) },
		"WINDOW_UPDATE of streams that were": func(h *upstreamtest.HTTP2, id uint32) error { return h.WriteWindowUpdate(id-2, 1) },
	} {
		t.Run(name, func(t *testing.T) {
			s := upstreamtest.Listen(t, "tcp", answering(func(h *upstreamtest.HTTP2, id uint32) {
				if id == 1 { // the first says that the service is well
					fine(h, id)
					return
				}
				h.Fields(id, false, ":status", "200", "content-type", "application/grpc")
				for range frames {
					h.Locked(func() error { return flood(h, id) })
				}
				h.Content(id, false, "ok")
				h.Fields(id, true, "grpc-status", "0")
			}))
			set := newTestSet(t, Config{}, s)
			if got := send(set, someCall()); got.reason != problem.OK {
				t.Fatalf("before: %v", got.err)
			}
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			got := send(set, someCall())
			runtime.GC()
			runtime.ReadMemStats(&after)
			if got.reason != problem.OK || got.body != "ok" {
				t.Errorf("got %d %q %v", got.status, got.body, got.err)
			}
			if after.HeapAlloc > before.HeapAlloc+4<<20 {
				t.Errorf("the heap grew by %d KiB", (after.HeapAlloc-before.HeapAlloc)>>10)
			}
		})
	}
}
