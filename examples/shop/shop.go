// Package shop holds the map of the demonstration zone and its service in Node,
// so that `sallyport demo` needs nothing beside the Go programs.
package shop

import _ "embed" // for the files below

// Map is examples/shop/zone.yaml.
//
//go:embed zone.yaml
var Map []byte

// RunFolder is the folder of the sockets in Map.
const RunFolder = "/run/sallyport"

// Reviews is the program of the service reviews, for Node.
//
//go:embed reviews/reviews.mjs
var Reviews []byte

// ReviewsName is the service that Reviews is.
const ReviewsName = "reviews"

// Programs returns the names of the services in Go, which are also the names of
// their programs.
func Programs() []string { return []string{"catalog", "orders", "accounts", "payments", "legacy"} }
