package guard

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"sallyport.dev/zone"
)

func TestLostRights(t *testing.T) {
	compile := func(routes ...zone.SliceRoute) *book {
		b := &book{rules: make(map[*zone.Route]*rule)}
		for i := range routes {
			ru := compileRoute(&routes[i])
			b.rules[ru.route] = ru
		}
		return b
	}
	route := func(method, path string, callers, own []string) zone.SliceRoute {
		return zone.SliceRoute{Method: method, Path: path, Allow: []string{"service"}, Callers: callers, ServiceCallers: own}
	}
	old := compile(route("GET", "/a", []string{"x", "y"}, []string{"z"}), route("GET", "/b", []string{"x"}, nil))
	closed := route("GET", "/b", []string{"x"}, nil)
	closed.NotEnforced = []string{"mfa"}
	for _, tt := range []struct {
		name string
		now  *book
		want string
	}{
		{"nothing", compile(route("GET", "/b", []string{"x"}, nil), route("GET", "/a", []string{"y", "x", "w"}, []string{"z"})), ""},
		{"a caller", compile(route("GET", "/a", []string{"x"}, []string{"z"}), route("GET", "/b", []string{"x"}, nil)), "y"},
		{"one route of two", compile(route("GET", "/a", []string{"x", "y"}, []string{"z"})), "x"},
		{"closed", compile(route("GET", "/a", []string{"x", "y"}, []string{"z"}), closed), "x"},
		{"for itself no more", compile(route("GET", "/a", []string{"x", "y", "z"}, nil), route("GET", "/b", []string{"x"}, nil)), "z"},
		{"another method", compile(route("POST", "/a", []string{"x", "y"}, []string{"z"}), route("GET", "/b", []string{"x"}, nil)), "x y z"},
		{"all", compile(), "x y z"},
	} {
		if got := strings.Join(slices.Sorted(maps.Keys(lostRights(old, tt.now))), " "); got != tt.want {
			t.Errorf("%s: lost by %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestMayEnter(t *testing.T) {
	for name, want := range map[string]bool{"gateway": true, "orders": true, "control": false, "": false, "ns/orders": false} {
		if got := mayEnter(name); got != want {
			t.Errorf("mayEnter(%q) = %v, want %v", name, got, want)
		}
	}
}
