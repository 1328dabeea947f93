package cli

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"sallyport.dev/examples/shop"
	"sallyport.dev/zone"
)

// makeRunFolder makes the folder of one run's sockets. Its path is short enough
// for them, and has nothing in it that YAML or a shell would read otherwise.
func makeRunFolder() (string, error) {
	base := os.TempDir()
	if len(base) > 48 || strings.Trim(base, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-") != "" {
		base = "/tmp"
	}
	dir, err := os.MkdirTemp(base, "sallyport-run-")
	if err != nil {
		return "", err
	}
	return dir, os.Mkdir(filepath.Join(dir, "shop"), 0o700)
}

// readMap reads the shop's map, with this run's sockets in it.
func (d *demo) readMap() (err error) {
	d.mapText = bytes.ReplaceAll(shop.Map, []byte(shop.RunFolder+"/"), []byte(d.run+"/"))
	d.zone, err = zone.Parse("zone.yaml", d.mapText)
	return err
}

// mapFile is where the map of this run lies, for the sidecars and for reading.
func (d *demo) mapFile() string { return filepath.Join(d.data, "zone.yaml") }

// workloadAPI is the socket at which the zone gives identities.
func (d *demo) workloadAPI() string { return filepath.Join(d.run, "workload.sock") }

// writeFiles writes what the children read.
func (d *demo) writeFiles() error {
	for path, text := range map[string][]byte{d.mapFile(): d.mapText, d.reviewsFile(): shop.Reviews} {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			return fmt.Errorf("write for the services: %w", err)
		}
	}
	return nil
}

func (d *demo) reviewsFile() string { return filepath.Join(d.run, "reviews.mjs") }
