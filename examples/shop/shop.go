// Package shop holds the map of the demonstration zone, so that `sallyport demo`
// runs from the binary alone.
package shop

import _ "embed" // for the map below

// Map is examples/shop/zone.yaml.
//
//go:embed zone.yaml
var Map []byte

// Services returns the names of the services, which are also the names of their programs.
func Services() []string { return []string{"catalog", "orders", "accounts", "payments"} }
