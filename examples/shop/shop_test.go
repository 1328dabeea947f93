package shop

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sallyport.dev/zone"
)

// TestMap: the map that users copy is free of errors, of weak places but the one
// that a demonstration needs, and of services that nobody runs.
func TestMap(t *testing.T) {
	z, err := zone.Parse("zone.yaml", Map)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range z.Notices {
		if n.Path != "identity.registration" && !strings.HasSuffix(n.Path, ".layer") {
			t.Errorf("%d:%d %s: %s", n.Pos.Line, n.Pos.Column, n.Path, n.Text)
		}
	}
	var names []string
	for _, svc := range z.Services {
		names = append(names, svc.Name)
		if !svc.InnerDoor() {
			t.Errorf("%s has no inner door", svc.Name)
		}
		for _, u := range svc.Upstreams {
			if u.Network == "unix" && !strings.HasPrefix(u.Address, RunFolder+"/") {
				t.Errorf("%s listens on %s, want it under %s", svc.Name, u.Address, RunFolder)
			}
		}
		if svc.Sidecar != "" && !strings.HasPrefix(svc.Outbound, RunFolder+"/") {
			t.Errorf("%s makes its calls on %s, want it under %s", svc.Name, svc.Outbound, RunFolder)
		}
	}
	if want := append(Programs(), ReviewsName); !same(names, want) {
		t.Errorf("services are %q, programs %q", names, want)
	}
}

func same(a, b []string) bool {
	a, b = slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b))
	return slices.Equal(a, b)
}

// TestServicesAreShort: they are read before anything else. What stands behind a
// sidecar knows nothing of Sallyport.
func TestServicesAreShort(t *testing.T) {
	files := map[string]int{filepath.Join(ReviewsName, "reviews.mjs"): 100}
	for _, name := range Programs() {
		files[filepath.Join(name, "main.go")] = 150
	}
	z, err := zone.Parse("zone.yaml", Map)
	if err != nil {
		t.Fatal(err)
	}
	for path, most := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if n := bytes.Count(text, []byte("\n")); n >= most {
			t.Errorf("%s has %d lines, want less than %d", path, n, most)
		}
		guarded := bytes.Contains(text, []byte(`"sallyport.dev/guard"`))
		if embedded := z.Service(filepath.Dir(path)).Embedded; guarded != embedded {
			t.Errorf("%s: imports guard %t, embedded in the map %t", path, guarded, embedded)
		}
	}
}
