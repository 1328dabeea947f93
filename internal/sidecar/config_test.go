package sidecar

import (
	"strings"
	"testing"

	"sallyport.dev/zone"
)

func TestNew(t *testing.T) {
	good := func() Config {
		return Config{
			Zone: &zone.Zone{Name: "shop.example", Services: []*zone.Service{
				{Name: "orders", Sidecar: "127.0.0.1:9502", Upstreams: []zone.Upstream{{Scheme: "http", Network: "unix", Address: "/run/o.sock"}}},
			}},
			Service: "orders", Guard: &door{}, Socket: "/run/x/out.sock",
		}
	}
	instance := func(network, scheme, address string) func(*Config) {
		return func(c *Config) {
			c.Zone.Services[0].Upstreams = []zone.Upstream{{Scheme: scheme, Network: network, Address: address, URL: address}}
		}
	}
	for _, c := range []struct {
		name string
		set  func(*Config)
		want string // in the error; empty: it is taken
	}{
		{"as it should be", func(*Config) {}, ""},
		{"on loopback", instance("tcp", "http", "127.0.0.1:80"), ""},
		{"on loopback, IPv6", instance("tcp", "http", "[::1]:80"), ""},
		{"no zone", func(c *Config) { c.Zone = nil }, "no zone"},
		{"no guard", func(c *Config) { c.Guard = nil }, "no guard"},
		{"unknown service", func(c *Config) { c.Service = "other" }, "no service"},
		{"no sidecar", func(c *Config) { c.Zone.Services[0].Sidecar = "" }, "no sidecar"},
		{"no instance", func(c *Config) { c.Zone.Services[0].Upstreams = nil }, "where orders listens"},
		{"another host", instance("tcp", "http", "10.0.0.1:80"), "only http on loopback"},
		{"any address", instance("tcp", "http", "0.0.0.0:80"), "only http on loopback"},
		{"https", instance("tcp", "https", "127.0.0.1:80"), "only http on loopback"},
		{"service named as the sidecar itself", func(c *Config) {
			c.Zone.Services = append(c.Zone.Services, &zone.Service{Name: "sidecar"})
		}, "the sidecar's own"},
		{"negative bound", func(c *Config) { c.Calls = -1 }, "negative"},
		{"the map's outbound", func(c *Config) { c.Zone.Services[0].Outbound, c.Socket = "/run/x/o.sock", "" }, ""},
		{"outbound as it is written", func(c *Config) { c.Socket = "unix:/run/x/o.sock" }, ""},
		{"outbound on loopback", func(c *Config) { c.Socket = "127.0.0.1:9700" }, ""},
		{"outbound for all", func(c *Config) { c.Socket = ":9700" }, "not an address of loopback"},
		{"outbound on the network", func(c *Config) { c.Socket = "10.0.0.1:9700" }, "not an address of loopback"},
		{"outbound on a name", func(c *Config) { c.Socket = "localhost:9700" }, "not an address of loopback"},
		{"outbound that is relative", func(c *Config) { c.Socket = "unix:o.sock" }, "not an absolute path"},
		{"no outbound", func(c *Config) { c.Socket = "" }, "neither"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := good()
			c.set(&cfg)
			switch _, err := New(cfg); {
			case c.want == "" && err != nil:
				t.Errorf("got %v, want none", err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}
