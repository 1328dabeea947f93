package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// The floor is the least that a gateway behind net/http's server can do: for each
// request it writes the same one to a kept connection of its own and hands the
// answer on. It judges, limits, records and checks nothing, not even that the
// connection is still open: what any gateway costs above it is the gateway's.

func startFloor(ctx context.Context, b *bed) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return b.command(ctx, gatewayCore, self, "-floor", strings.Join([]string{"127.0.0.1:18449", upstream, b.path("cert.pem"), b.path("key.pem")}, ","))
}

func runFloor(spec string) error {
	f := strings.Split(spec, ",")
	if len(f) != 4 {
		return errors.New("floor: want listen,upstream,cert,key")
	}
	srv := &http.Server{
		Addr: f[0], Handler: &floor{to: f[1], idle: make(chan *kept, 256)},
		ReadHeaderTimeout: 5 * time.Second, TLSConfig: &tls.Config{MinVersion: tls.VersionTLS13},
	}
	return srv.ListenAndServeTLS(f[2], f[3])
}

type floor struct {
	to   string
	idle chan *kept
}

// kept is one connection to the service with what it needs for an exchange.
type kept struct {
	net.Conn
	read  *bufio.Reader
	whole []byte
}

func (f *floor) take() (*kept, error) {
	select {
	case k := <-f.idle:
		return k, nil
	default:
	}
	c, err := net.Dial("tcp", f.to)
	if err != nil {
		return nil, err
	}
	return &kept{Conn: c, read: bufio.NewReader(c), whole: make([]byte, 0, 64<<10)}, nil
}

func (f *floor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	k, err := f.take()
	if err == nil {
		k.whole = append(append(append(k.whole[:0], "GET "...), r.RequestURI...), " HTTP/1.1\r\nHost: service\r\n\r\n"...)
		_, err = k.Write(k.whole)
	}
	if err == nil {
		err = k.answer(w)
	}
	if err != nil {
		http.Error(w, "bad gateway", http.StatusBadGateway)
		return
	}
	select {
	case f.idle <- k:
	default:
		_ = k.Close()
	}
}

// answer hands on an answer of known length, as the bench's service gives.
func (k *kept) answer(w http.ResponseWriter) error {
	length := -1
	for {
		line, err := k.read.ReadSlice('\n')
		if err != nil {
			return err
		}
		name, value, ok := strings.Cut(strings.TrimSpace(string(line)), ": ")
		if !ok && name == "" {
			break
		}
		switch name {
		case "Content-Type":
			w.Header()["Content-Type"] = []string{value}
		case "Content-Length":
			w.Header()["Content-Length"] = []string{value}
			if length, err = strconv.Atoi(value); err != nil {
				return err
			}
		}
	}
	if length < 0 || length > cap(k.whole) {
		return errors.New("floor: an answer of another form")
	}
	if _, err := io.ReadFull(k.read, k.whole[:length]); err != nil {
		return err
	}
	_, _ = w.Write(k.whole[:length])
	return nil
}
