// Profiled is sallyport with a CPU profile of its whole life written to the
// file that SALLYPORT_PROFILE names. It is never shipped.
package main

import (
	"log"
	"os"
	"runtime/pprof"

	"sallyport.dev/internal/cli"
)

func main() { os.Exit(run()) }

func run() int {
	if name := os.Getenv("SALLYPORT_PROFILE"); name != "" {
		f, err := os.Create(name) // #nosec G304 -- the benchmark names it
		if err != nil {
			log.Fatal(err)
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			log.Fatal(err)
		}
		defer pprof.StopCPUProfile()
	}
	return cli.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
}
