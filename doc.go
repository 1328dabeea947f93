// Package sallyport is the root of the module. It holds no code: the binary is
// cmd/sallyport, what services import is guard, and the map is zone.
package sallyport
