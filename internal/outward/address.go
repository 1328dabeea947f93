package outward

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
)

// Resolve returns the addresses of a host.
type Resolve func(ctx context.Context, host string) ([]netip.Addr, error)

// resolver asks the system.
func resolver(ctx context.Context, host string) ([]netip.Addr, error) {
	return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
}

var errAddress = errors.New("the host has no address that may be asked")

// dialContext judges the addresses of a host and dials those that may be asked.
func (c *Client) dialContext(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	addresses, err := c.allowed(ctx, host)
	if err != nil {
		return nil, err
	}
	var failed error
	for _, a := range addresses {
		conn, err := c.dial(ctx, network, net.JoinHostPort(a.String(), port))
		if err == nil {
			return conn, nil
		}
		failed = errors.Join(failed, err)
	}
	return nil, failed
}

func (c *Client) allowed(ctx context.Context, host string) ([]netip.Addr, error) {
	addresses, err := c.lookup(ctx, host)
	if err != nil {
		return nil, err
	}
	own := map[class]bool{public: true}
	if host == c.host {
		own[private], own[loopback] = true, true
	} else if named, err := c.lookup(ctx, c.host); err == nil {
		for _, a := range named {
			own[classOf(a)] = true
		}
	}
	own[special] = false
	var fine []netip.Addr
	for _, a := range addresses {
		if own[classOf(a)] {
			fine = append(fine, a)
		}
	}
	if len(fine) == 0 {
		return nil, fmt.Errorf("%q: %w", Clip(host), errAddress)
	}
	return fine[:min(len(fine), maxAddresses)], nil
}

func (c *Client) lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{a.Unmap().WithZone("")}, nil
	}
	return c.resolve(ctx, host)
}

// class is what an address is for.
type class uint8

const (
	special  class = iota // nobody's, or of the host's own cloud: never asked
	loopback              // this host
	private               // a network of one's own
	public
)

// specials are networks that no issuer is in: RFC 6890 and its registry.
func specials() []netip.Prefix {
	return []netip.Prefix{
		netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("192.0.0.0/24"), netip.MustParsePrefix("192.0.2.0/24"),
		netip.MustParsePrefix("192.88.99.0/24"), netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("198.51.100.0/24"),
		netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("240.0.0.0/4"),
		netip.MustParsePrefix("64:ff9b::/96"), netip.MustParsePrefix("64:ff9b:1::/48"), netip.MustParsePrefix("100::/64"),
		netip.MustParsePrefix("2001::/23"), netip.MustParsePrefix("2001:db8::/32"), netip.MustParsePrefix("2002::/16"), // these carry others
	}
}

func classOf(a netip.Addr) class {
	a = a.Unmap()
	switch {
	case !a.IsValid(), a.IsUnspecified(), a.IsMulticast(), a.IsLinkLocalUnicast(), a.IsInterfaceLocalMulticast():
		return special
	case a.IsLoopback():
		return loopback
	case a.IsPrivate(), netip.PrefixFrom(netip.AddrFrom4([4]byte{100, 64}), 10).Contains(a): // and RFC 6598
		return private
	}
	for _, p := range specials() {
		if p.Contains(a) {
			return special
		}
	}
	if a.Is6() && a.As16()[0]&0xe0 != 0x20 { // all that is routed is in 2000::/3
		return special
	}
	return public
}
