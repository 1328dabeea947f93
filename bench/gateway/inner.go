package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// hopAddress is where the process between gateway and service listens.
const hopAddress = "127.0.0.1:18450"

// innerContenders are the gateway with a hop behind it: a bare proxy in plain,
// and a sidecar by the strength of the proof; and nginx before the same bare
// proxy. The other core is the narrow place for all of them, and a gateway that
// waits for it spends more on each request than one at its limit: so nginx is
// compared in the same place.
func innerContenders() []*contender {
	list := []*contender{
		{
			name: "nginx, and a bare proxy", address: "127.0.0.1:18441", tokens: true,
			start: func(ctx context.Context, b *bed) (*exec.Cmd, error) { return b.startNginx(ctx, hopAddress) },
			hop:   startBareHop,
		},
		{
			name: "hop, bare proxy", address: "127.0.0.1:18443", tokens: true,
			start: func(ctx context.Context, b *bed) (*exec.Cmd, error) {
				return b.serveMap(ctx, "upstream: http://"+hopAddress)
			},
			hop: startBareHop,
		},
	}
	for _, proof := range []string{"channel", "mac", "signature"} {
		list = append(list, &contender{
			name: "hop, " + proof, address: "127.0.0.1:18443", tokens: true,
			start: func(ctx context.Context, b *bed) (*exec.Cmd, error) {
				return b.serveMap(ctx, "upstream: http://"+upstream+"\n    sidecar: "+hopAddress+"\n    proof: "+proof)
			},
			hop: startSidecar,
		})
	}
	return list
}

// startBareHop runs this program as a proxy without TLS and without checks.
func startBareHop(ctx context.Context, b *bed) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return b.command(ctx, otherCore, self, "-reverseproxy", hopAddress+","+upstream)
}

// serveMap runs the zone with another way to the service.
func (b *bed) serveMap(ctx context.Context, way string) (*exec.Cmd, error) {
	text := strings.Replace(benchMap, "upstream: http://"+upstream, way, 1)
	text = strings.Replace(text, "  admin:", "  control: {address: \"127.0.0.1:18445\"}\n  admin:", 1)
	if !strings.Contains(way, "sidecar") {
		text = strings.Replace(text, "  control: {address: \"127.0.0.1:18445\"}\n", "", 1)
	}
	if err := os.WriteFile(b.path("inner.yaml"), []byte(text), 0o600); err != nil {
		return nil, err
	}
	return b.command(ctx, gatewayCore, filepath.Join(b.dir, "sallyport"), "serve", b.path("inner.yaml"), "--data", b.path("data"), "--run", b.path("run"), "--log-level", "error")
}

// startSidecar lets the inner door join the zone that runs.
func startSidecar(ctx context.Context, b *bed) (*exec.Cmd, error) {
	join := exec.CommandContext(ctx, b.path("sallyport"), "join", "products", "--data", b.path("data")) // #nosec G204 -- our own binary
	token, err := join.Output()
	if err != nil {
		return nil, fmt.Errorf("join: %w", err)
	}
	if err := os.WriteFile(b.path("join"), token, 0o600); err != nil {
		return nil, err
	}
	if err := os.RemoveAll(b.path("sidecar")); err != nil {
		return nil, err
	}
	return b.command(ctx, otherCore, b.path("sallyport"), "sidecar", b.path("inner.yaml"), "products", "--join-file", b.path("join"), "--data", b.path("sidecar"), "--log-level", "error")
}

// awaitOK waits until a request passes the whole way.
func (b *bed) awaitOK(ctx context.Context, c *contender) error {
	tokens, err := os.ReadFile(b.path("tokens"))
	if err != nil {
		return err
	}
	first, _, _ := strings.Cut(string(tokens), "\n")
	client := &http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13, ServerName: "localhost"}}} // #nosec G402 -- a made-up certificate on loopback
	defer client.CloseIdleConnections()
	for end := time.Now().Add(15 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+c.address+"/products", http.NoBody)
		if err != nil {
			return err
		}
		req.Host = "localhost"
		req.Header.Set("Authorization", "Bearer "+first)
		res, err := client.Do(req)
		if err != nil {
			continue
		}
		_ = res.Body.Close()
		if res.StatusCode == http.StatusOK {
			return nil
		}
	}
	return errors.New(c.name + ": no request passed in 15 s")
}

// reportInner prints what a hop costs: the gateway's process, the one behind it,
// and both against the bare proxy of the same round.
func reportInner(all []*contender) {
	fmt.Println("| hop | requests/s | gateway us | behind it us | both above the bare proxy us | gateway core of nginx |")
	fmt.Println("|---|---:|---:|---:|---:|---:|")
	var nginx, bare *contender
	for _, c := range all {
		switch {
		case c.name == "nginx, and a bare proxy":
			nginx = c
		case c.name == "hop, bare proxy":
			bare = c
		}
	}
	for _, c := range all {
		above, of := "", ""
		if bare != nil && c != bare && c != nginx {
			above = pairs(c, bare, "%+.0f", func(r, base result) float64 { return r.cpu + r.hop - base.cpu - base.hop })
		}
		if nginx != nil && c.hop != nil && c != nginx { // by CPU: the other core is the narrow place
			of = pairs(c, nginx, "%.2f", func(r, base result) float64 { return base.cpu / r.cpu })
		}
		fmt.Printf("| %s | %.0f | %.0f | %.0f | %s | %s |\n", c.name, median(c.results, func(r result) float64 { return r.perSecond }),
			median(c.results, func(r result) float64 { return r.cpu }), median(c.results, func(r result) float64 { return r.hop }), above, of)
	}
}

// pairs is the median of a figure taken inside each round, with its range.
func pairs(c, base *contender, format string, of func(r, base result) float64) string {
	var list []result
	for i, r := range c.results {
		list = append(list, result{perSecond: of(r, base.results[i])})
	}
	value := func(r result) float64 { return r.perSecond }
	low, high := list[0].perSecond, list[0].perSecond
	for _, r := range list {
		low, high = min(low, r.perSecond), max(high, r.perSecond)
	}
	return fmt.Sprintf(format+" ("+format+" to "+format+")", median(list, value), low, high)
}
