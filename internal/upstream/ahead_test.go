package upstream

import (
	"context"
	"testing"
	"testing/synctest"

	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/upstream/upstreamtest"
)

// A small body that never becomes whole does not outlast its request: who is over
// waits for nobody's bytes.
func TestReadAheadEndsWithItsRequest(t *testing.T) {
	for _, c := range []struct {
		name string
		end  func(context.CancelFunc, *scriptBody)
		want problem.Reason
	}{
		{"over", func(cancel context.CancelFunc, _ *scriptBody) { cancel() }, problem.ClientClosed},
		{"whole", func(_ context.CancelFunc, b *scriptBody) { b.pieces <- "y" }, problem.OK},
	} {
		synctest.Test(t, func(t *testing.T) {
			s, dial := upstreamtest.Pipe(upstreamtest.Always(upstreamtest.Sized("ok")))
			set := newTestSet(t, Config{Dial: dial}, s)
			defer set.Close()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			b := newScriptBody()
			b.pieces <- "bod"
			got := make(chan outcome, 1)
			go func() { got <- sendWith(ctx, set, someRequest("POST", "/").with(b, 4)) }()
			synctest.Wait()
			c.end(cancel, b)
			synctest.Wait()
			select {
			case got := <-got:
				wantReason(t, c.name, got, c.want)
			default:
				t.Errorf("%s: the request goes on", c.name)
				b.Retire()
			}
		})
	}
}
