package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
)

// handshake is what comes back where not even a connection is made.
const handshake = "refused in the handshake"

// attempt is one thing to try at the inner door of orders.
type attempt struct {
	what string
	want string // status and reason; only the status where it is allowed
	try  func(ctx context.Context, door string) string
}

// sales is the one call that the map gives to catalog.
func sales(token string) request {
	return request{method: "POST", target: "/sales", token: token, body: "[1]"}
}

// attempts are all, the positive control first.
func attempts(catalog, accounts *thief) []attempt {
	good := sales(catalog.token)
	const invalid, missing = "400 proof.invalid", "400 proof.missing"
	return []attempt{
		{"control: catalog asks for the sales, as the map says", "200", catalog.ask(good)},
		{"control: it asks twice, with a proof for each", "200", catalog.twice(good, false)},

		{"no certificate", handshake, stranger(nil)},
		{"a certificate that calls itself catalog, of a CA of the intruder's own", handshake, stranger(forge("catalog"))},

		{"a stolen token and its own certificate, without a proof", missing, catalog.ask(good.with(func(r *request) { r.unproven = true }))},
		{"a stolen token with another service's certificate, without a proof", "401 inside.token_invalid",
			accounts.ask(good.with(func(r *request) { r.unproven = true }))},
		{"a stolen token with another service's certificate, and a proof of that one's key", "401 inside.token_invalid", accounts.ask(good)},

		{"a replay on the same connection", "400 proof.replayed", catalog.twice(good, true)},
		{"a replay on another connection", invalid, catalog.elsewhere(good)},
		{"a changed body under a good proof", "400 proof.digest", catalog.ask(good.with(func(r *request) { r.sentBody = "[2]" }))},
		{"a changed path under a good proof", invalid, catalog.ask(good.with(func(r *request) { r.sentTarget = "/sales?all=1" }))},
		{"a changed correlation id under a good proof", invalid, catalog.ask(good.with(func(r *request) { r.sentCorrelation = newCorrelation() }))},

		{"a forged caller: accounts says that it is catalog", "403 inside.call",
			accounts.ask(sales(accounts.token).with(func(r *request) { r.extra = "X-Caller: catalog\r\nX-User-Id: admin\r\n" }))},
		{"an operation of orders that the map does not give to catalog", "403 inside.call",
			catalog.ask(request{method: "GET", target: "/orders/1", token: catalog.token})},
		{"an operation that is not in the map", "404 inside.route",
			catalog.ask(request{method: "GET", target: "/debug/pprof/", token: catalog.token})},
	}
}

// ask makes one request on a connection of its own.
func (t *thief) ask(r request) func(context.Context, string) string {
	return func(ctx context.Context, door string) string {
		c, err := t.connect(ctx, door)
		if err != nil {
			return failure(err)
		}
		defer c.close()
		return c.say(c.write(r))
	}
}

// twice makes a request twice on one connection: the same bytes, or with a new
// proof.
func (t *thief) twice(r request, same bool) func(context.Context, string) string {
	return func(ctx context.Context, door string) string {
		c, err := t.connect(ctx, door)
		if err != nil {
			return failure(err)
		}
		defer c.close()
		first := c.write(r)
		if got := c.say(first); got != "200" {
			return "the first of two: " + got
		}
		if !same {
			first = c.write(r)
		}
		return c.say(first)
	}
}

// elsewhere replays what was accepted on one connection on another one.
func (t *thief) elsewhere(r request) func(context.Context, string) string {
	return func(ctx context.Context, door string) string {
		c, err := t.connect(ctx, door)
		if err != nil {
			return failure(err)
		}
		defer c.close()
		accepted := c.write(r)
		if got := c.say(accepted); got != "200" {
			return "the first of two: " + got
		}
		other, err := t.connect(ctx, door)
		if err != nil {
			return failure(err)
		}
		defer other.close()
		return other.say(accepted)
	}
}

// stranger connects without an identity of the zone, and does not care who answers.
func stranger(own *tls.Certificate) func(context.Context, string) string {
	return func(ctx context.Context, door string) string {
		raw, err := (&net.Dialer{}).DialContext(ctx, "tcp", door)
		if err != nil {
			return err.Error()
		}
		cfg := &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13} // #nosec G402 -- an attacker's
		if own != nil {
			cfg.Certificates = []tls.Certificate{*own}
		}
		c := newConnection(tls.Client(raw, cfg))
		defer c.close()
		return c.say([]byte("GET /sales HTTP/1.1\r\nHost: orders\r\n\r\n"))
	}
}

// failure says in one word where TLS refused. A server's alert for the client's
// certificate comes with the first read after the handshake (RFC 8446 section 4.4).
func failure(err error) string {
	if alert := tls.AlertError(0); errors.As(err, &alert) {
		return handshake
	}
	if op := (*net.OpError)(nil); errors.As(err, &op) && op.Op == "remote error" {
		return handshake
	}
	return fmt.Sprint(err)
}
