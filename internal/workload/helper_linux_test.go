package workload

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// Helpers are the test binary again, as a process of another kind.
const (
	helperMode   = "WORKLOAD_TEST_HELPER"
	helperSocket = "WORKLOAD_TEST_SOCKET"
	helperTarget = "WORKLOAD_TEST_TARGET"
)

func TestMain(m *testing.M) {
	mode, socket := os.Getenv(helperMode), os.Getenv(helperSocket)
	var err error
	switch mode {
	case "":
		os.Exit(m.Run())
	case "fetch":
		err = helpFetch(socket)
	case "lend":
		err = helpLend(socket)
	case "idle":
		fmt.Println("ready")
		err = helpUntilEnd()
	case "shadow":
		err = helpShadow(os.Getenv(helperTarget))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "helper", mode+":", err)
		os.Exit(1)
	}
}

// answer is what a helper got, as a line of JSON.
type answer struct {
	Code  string
	Hints []string
}

func helpUntilEnd() error {
	s := bufio.NewScanner(os.Stdin)
	for s.Scan() { //nolint:revive // orders to an idle process are nothing
	}
	return s.Err()
}

// helpFetch tells what comes on streams, one after the other, until it is told to end.
func helpFetch(socket string) error {
	cc, err := grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(metadata.AppendToOutgoingContext(context.Background(), header, "true"), patience)
	defer cancel()
	stream, err := workload.NewSpiffeWorkloadAPIClient(cc).FetchX509SVID(ctx, &workload.X509SVIDRequest{})
	if err != nil {
		return err
	}
	go func() {
		_ = helpUntilEnd()
		os.Exit(0)
	}()
	out := json.NewEncoder(os.Stdout)
	for {
		m, err := stream.Recv()
		a := answer{Code: status.Code(err).String()}
		for _, s := range m.GetSvids() {
			a.Hints = append(a.Hints, s.Hint)
		}
		if err := out.Encode(a); err != nil || a.Code != "OK" {
			return err
		}
	}
}

// helpLend connects, hands the connection out and obeys.
func helpLend(socket string) error {
	c, err := net.Dial("unix", socket)
	if err != nil {
		return err
	}
	f, err := c.(*net.UnixConn).File()
	if err != nil {
		return err
	}
	if err := unix.Sendmsg(3, []byte{0}, unix.UnixRights(int(f.Fd())), nil, 0); err != nil {
		return err
	}
	orders := bufio.NewScanner(os.Stdin)
	for orders.Scan() {
		order, value, _ := strings.Cut(orders.Text(), " ")
		switch order {
		case "exec":
			return syscall.Exec(value, []string{value}, []string{helperMode + "=idle", "GORACE=atexit_sleep_ms=0"})
		case "setuid", "setgid":
			id, err := strconv.Atoi(value)
			if err != nil {
				return err
			}
			if order == "setuid" {
				err = syscall.Setuid(id)
			} else {
				err = syscall.Setgid(id)
			}
			if err != nil {
				return err
			}
			fmt.Println("done")
		}
	}
	return orders.Err()
}

// helpShadow puts its own executable under another path, for itself only, and
// fetches as that.
func helpShadow(target string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	if err := unix.Mount(self, target, "", unix.MS_BIND, ""); err != nil {
		return err
	}
	return syscall.Exec(target, []string{target}, []string{helperMode + "=fetch", helperSocket + "=" + os.Getenv(helperSocket), "GORACE=atexit_sleep_ms=0"})
}
