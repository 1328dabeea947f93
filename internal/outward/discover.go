package outward

import (
	"context"
	"fmt"
	"strings"
)

// Discover fetches the discovery document of an issuer (OpenID Connect Discovery 1.0
// section 4, RFC 8414) and where it is. It must be of exactly this issuer (section
// 4.3), or one issuer could speak for another.
func (c *Client) Discover(ctx context.Context, issuer string) (document Object, place string, err error) {
	place = strings.TrimSuffix(issuer, "/") + "/.well-known/openid-configuration"
	data, _, err := c.Get(ctx, place, "Accept", "application/json")
	if err != nil {
		return nil, place, err
	}
	if document, err = ParseObject(data); err != nil {
		return nil, place, fmt.Errorf("%s: %w", place, err)
	}
	if document.Text("issuer") != issuer {
		return nil, place, fmt.Errorf("%s is of the issuer %q, want %q", place, Clip(document.Text("issuer")), issuer)
	}
	return document, place, nil
}

// Endpoint returns an address that the document of a place names.
func (c *Client) Endpoint(document Object, place, name string) (string, error) {
	address := document.Text(name)
	if err := c.secure(address); err != nil {
		return "", fmt.Errorf("%s: %s %q: %w", place, name, Clip(address), err)
	}
	return address, nil
}
