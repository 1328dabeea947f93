package main

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
)

// smtpSink is an SMTP server (RFC 5321) that takes every letter and keeps none.
type smtpSink struct {
	address string
	letters atomic.Int64 // that it took
}

// newSink starts a sink, until ctx ends.
func newSink(ctx context.Context) (*smtpSink, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &smtpSink{address: l.Addr().String()}
	context.AfterFunc(ctx, func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go s.swallow(c)
		}
	}()
	return s, nil
}

func (s *smtpSink) swallow(c net.Conn) {
	defer c.Close()
	say := func(text string) { _, _ = fmt.Fprintf(c, "%s\r\n", text) }
	say("220 sink")
	data := false
	for lines := bufio.NewScanner(c); lines.Scan(); {
		line := lines.Text()
		verb, _, _ := strings.Cut(strings.ToUpper(line), " ")
		switch {
		case data && line == ".":
			data = false
			s.letters.Add(1)
			say("250 taken")
		case data:
		case verb == "DATA":
			data = true
			say("354 go on")
		case verb == "QUIT":
			say("221 bye")
			return
		default:
			say("250 ok")
		}
	}
}
