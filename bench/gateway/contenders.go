package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

const (
	gatewayCore = "0"
	otherCore   = "1"
	upstream    = "127.0.0.1:18440"
)

// startNginx runs nginx as a bare TLS reverse proxy: one worker, kept-alive
// connections on both sides, no log.
func startNginx(ctx context.Context, b *bed) (*exec.Cmd, error) { return b.startNginx(ctx, upstream) }

func (b *bed) startNginx(ctx context.Context, to string) (*exec.Cmd, error) {
	conf := `daemon off; worker_processes 1; pid ` + b.path("nginx.pid") + `; error_log ` + b.path("nginx.err") + ` warn;
events { worker_connections 4096; }
http {
  access_log off;
  client_body_temp_path ` + b.path("t1") + `; proxy_temp_path ` + b.path("t2") + `; fastcgi_temp_path ` + b.path("t3") + `; uwsgi_temp_path ` + b.path("t4") + `; scgi_temp_path ` + b.path("t5") + `;
  keepalive_requests 10000000;
  upstream service { server ` + to + `; keepalive 256; keepalive_requests 10000000; }
  server {
    listen 127.0.0.1:18441 ssl http2;
    ssl_certificate ` + b.path("cert.pem") + `; ssl_certificate_key ` + b.path("key.pem") + `; ssl_protocols TLSv1.3;
    location / { proxy_pass http://service; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffers 16 16k; proxy_busy_buffers_size 64k; proxy_max_temp_file_size 0; proxy_set_header Host $host; }
  }
}
`
	return b.nginx(ctx, "nginx.conf", conf, gatewayCore)
}

// startUpstream runs the service behind all of them: nginx that answers some
// JSON from memory.
func startUpstream(ctx context.Context, b *bed) (*exec.Cmd, error) {
	// A word of the configuration is short: a large answer is one of a variable, many times.
	const piece = 1000
	answer := "set $x " + strings.Repeat("x", piece) + `; return 200 '{"products":"` + strings.Repeat("x", max(0, b.size%piece-16)) + strings.Repeat("$x", b.size/piece) + `"}';`
	conf := `daemon off; worker_processes 1; pid ` + b.path("up.pid") + `; error_log ` + b.path("up.err") + ` warn;
events { worker_connections 4096; }
http {
  access_log off; keepalive_requests 10000000; default_type application/json;
  client_body_temp_path ` + b.path("u1") + `; proxy_temp_path ` + b.path("u2") + `; fastcgi_temp_path ` + b.path("u3") + `; uwsgi_temp_path ` + b.path("u4") + `; scgi_temp_path ` + b.path("u5") + `;
  server { listen ` + upstream + `; location / { ` + answer + ` } }
}
`
	return b.nginx(ctx, "up.conf", conf, otherCore)
}

func (b *bed) nginx(ctx context.Context, name, conf, core string) (*exec.Cmd, error) {
	if err := os.WriteFile(b.path(name), []byte(conf), 0o600); err != nil {
		return nil, err
	}
	return b.command(ctx, core, "nginx", "-p", b.dir, "-c", b.path(name))
}

// startReverseProxy runs this program as Go's ReverseProxy with its default transport.
func startReverseProxy(ctx context.Context, b *bed) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return b.command(ctx, gatewayCore, self, "-reverseproxy", strings.Join([]string{"127.0.0.1:18442", upstream, b.path("cert.pem"), b.path("key.pem")}, ","))
}

func runReverseProxy(spec string) error {
	f := strings.Split(spec, ",")
	if len(f) != 2 && len(f) != 4 {
		return errors.New("reverseproxy: want listen,upstream or listen,upstream,cert,key")
	}
	target := &url.URL{Scheme: "http", Host: f[1]}
	srv := &http.Server{
		Addr:              f[0],
		Handler:           &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }},
		ReadHeaderTimeout: 5 * time.Second,
		TLSConfig:         &tls.Config{MinVersion: tls.VersionTLS13},
	}
	if len(f) == 2 {
		return srv.ListenAndServe()
	}
	return srv.ListenAndServeTLS(f[2], f[3])
}

// benchMap is the zone: one route for users, with a limit that is counted and never reached.
const benchMap = `zone: bench.example
listeners:
  public:
    address: "127.0.0.1:18443"
    hosts: [localhost, 127.0.0.1]
    certificate: {cert: cert.pem, key: key.pem}
    limits: {rate: 100000000/min}
  admin: {address: "127.0.0.1:18444"}
identity: {listener: public, sessions: {idle: 12h, absolute: 12h}}
services:
  products:
    upstream: http://` + upstream + `
    routes:
      GET /products: {allow: user, limit: 100000000/min}
`

// startSallyport runs the built binary over the folder that newBed seeded.
func startSallyport(ctx context.Context, b *bed) (*exec.Cmd, error) {
	return b.command(ctx, gatewayCore, filepath.Join(b.dir, "sallyport"), "serve", b.path("zone.yaml"), "--data", b.path("data"), "--log-level", "error")
}

// command starts a program on one core; its output goes to a file of the bed.
func (b *bed) command(ctx context.Context, core, name string, args ...string) (*exec.Cmd, error) {
	cmd := exec.CommandContext(ctx, "taskset", append([]string{"-c", core, name}, args...)...) // #nosec G204 -- fixed programs
	log, err := os.OpenFile(b.path("log-"+filepath.Base(name)), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(os.Environ(), "SALLYPORT_PROFILE="+b.profile)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 15 * time.Second
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return cmd, nil
}
