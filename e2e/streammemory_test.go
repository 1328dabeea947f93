package e2e

import (
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

var peak = regexp.MustCompile(`VmHWM:\s+(\d+) kB`)

// peakOf returns the most memory that a process has had, in KiB, since it was last
// forgotten.
func peakOf(t testing.TB, pid int) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Skipf("no /proc: %v", err)
	}
	m := peak.FindSubmatch(text)
	if m == nil {
		t.Fatalf("no VmHWM in %s", text)
	}
	n, _ := strconv.Atoi(string(m[1]))
	return n
}

// TestStreamsInConstantMemory: 64 MiB each way through both doors, by gRPC, by
// WebSocket and by one that a service opens at another, in messages of 1 MiB, leave
// neither door larger by what passed.
func TestStreamsInConstantMemory(t *testing.T) {
	t.Parallel()
	const messages, most = 64, 32 << 10 // KiB
	d := startStreamDoors(t)
	session := d.login(d.addUser("alice@shop.example"))
	c, ctx := d.caller(session)
	text := strings.Repeat("x", 1<<20-64)
	calls := func() {
		s, err := c.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, "/shop.Rpc/Bidi")
		if err != nil {
			t.Fatal(err)
		}
		sent := make(chan error, 1)
		go func() {
			var err error
			for range messages {
				if err = s.SendMsg(wrapperspb.String(text)); err != nil {
					break
				}
			}
			_ = s.CloseSend()
			sent <- err
		}()
		got := new(wrapperspb.StringValue)
		n := 0
		for err = s.RecvMsg(got); err == nil; err = s.RecvMsg(got) {
			n += len(got.Value)
		}
		if sendErr := <-sent; err != io.EOF || sendErr != nil || n != messages*len(text) {
			t.Errorf("gRPC: %d bytes came back, %v, %v", n, err, sendErr)
		}
	}
	socketAt := func(path string) {
		w := d.chats(path, session)
		defer w.Close()
		sent := make(chan error, 1)
		go func() {
			f := frame(2, true, []byte(text))
			var err error
			for i := 0; i < messages && err == nil; i++ {
				_, err = w.Write(f)
			}
			sent <- err
		}()
		for i := range messages {
			if _, got, err := readFrame(w.r); err != nil || len(got) != len(text) {
				t.Fatalf("WebSocket: message %d: %d bytes, %v", i, len(got), err)
			}
		}
		if err := <-sent; err != nil {
			t.Error(err)
		}
	}
	for _, s := range []struct {
		what    string
		sidecar *sidecarRun
		move    func()
	}{{"gRPC", d.sidecars["rpc"], calls}, {"WebSocket", d.sidecars["sock"], func() { socketAt("/sock/chat") }},
		{"WebSocket of another service", d.sidecars["sock"], func() { socketAt("/sock/relay") }}} {
		pids := map[string]int{"gateway": d.cmd.Process.Pid, "sidecar": s.sidecar.cmd.Process.Pid}
		before := map[string]int{}
		for name, pid := range pids {
			_ = os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0o600) // forgets the peak; else the bound is harder to break
			before[name] = peakOf(t, pid)
		}
		s.move()
		for name, pid := range pids {
			grown := peakOf(t, pid) - before[name]
			t.Logf("%s: the %s grew by %d KiB from %d", s.what, name, grown, before[name])
			if grown > most {
				t.Errorf("%s: the %s grew by %d KiB, want %d at most", s.what, name, grown, most)
			}
		}
	}
}
