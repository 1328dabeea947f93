// Sallyport is the secured zone for microservices: one map, two doors, one binary.
package main

import (
	"os"

	"sallyport.dev/internal/cli"
)

func main() { os.Exit(cli.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }
