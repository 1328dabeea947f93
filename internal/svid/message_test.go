package svid

import (
	"strings"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// wire puts fields of bytes together.
func wire(fields ...any) []byte {
	var b []byte
	for i := 0; i < len(fields); i += 2 {
		b = protowire.AppendTag(b, protowire.Number(fields[i].(int)), protowire.BytesType)
		b = protowire.AppendBytes(b, []byte(fields[i+1].(string)))
	}
	return b
}

func TestParseMessage(t *testing.T) {
	whole := string(wire(1, "spiffe://shop.example/orders", 2, "c", 3, "k", 4, "b", 5, "h"))
	number := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), 7)
	for _, c := range []struct {
		name string
		b    []byte
		want string // "" for a good one
		n    int
	}{
		{"empty", nil, "", 0},
		{"one", wire(1, whole), "", 1},
		{"two", wire(1, whole, 1, whole), "", 2},
		{"unknown fields around and inside", wire(9, "x", 1, whole+string(wire(77, "x")), 3, "foreign"), "", 1},
		{"revocations", wire(2, "crl", 1, whole), "", 1},
		{"without a hint", wire(1, string(wire(1, "i", 2, "c", 3, "k", 4, "b"))), "", 1},
		{"a field twice", wire(1, whole+string(wire(3, "k2"))), "twice", 0},
		{"no key", wire(1, string(wire(1, "i", 2, "c", 4, "b"))), "mandatory field 3", 0},
		{"an empty key", wire(1, string(wire(1, "i", 2, "c", 3, "", 4, "b"))), "mandatory field 3", 0},
		{"wrong type", number, "wrong type", 0},
		{"wrong type inside", wire(1, string(number)), "wrong type", 0},
		{"cut", wire(1, whole)[:20], "no protocol buffer", 0},
		{"text", []byte("GET / HTTP/1.1"), "no protocol buffer", 0},
		{"long ID", wire(1, string(wire(1, strings.Repeat("i", maxID+1), 2, "c", 3, "k", 4, "b"))), "too long", 0},
		{"hint that is not UTF-8", wire(1, string(wire(1, "i", 2, "c", 3, "k", 4, "b", 5, "\xff"))), "UTF-8", 0},
		{"too many", []byte(strings.Repeat(string(wire(1, whole)), maxIdentities+1)), "more than 64", 0},
	} {
		m, err := parseMessage(c.b)
		if c.want != "" {
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: %v, want an error with %q", c.name, err, c.want)
			}
			continue
		}
		if err != nil || len(m.svids) != c.n {
			t.Errorf("%s: %+v, %v, want %d identities", c.name, m, err, c.n)
		}
	}
}

// FuzzParseMessage: the decoder never panics, and what it takes the protocol
// buffers library reads the same.
func FuzzParseMessage(f *testing.F) {
	zone := newAuthority(f, testZone, time.Now())
	for _, m := range []*workload.X509SVIDResponse{
		{}, {Svids: []*workload.X509SVID{zone.carry("orders", time.Hour), zone.carry("stock", time.Hour)}, Crl: [][]byte{{1}}, FederatedBundles: map[string][]byte{"a": {1}}},
	} {
		b, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add(wire(1, string(wire(1, "i", 2, "c", 3, "k", 4, "b", 5, "h")), 2, "x"))
	f.Add(protowire.AppendTag(nil, 9, protowire.StartGroupType))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := parseMessage(b)
		if err != nil {
			return
		}
		var other workload.X509SVIDResponse
		if proto.Unmarshal(b, &other) != nil { // it reads more than we do
			return
		}
		if len(other.Svids) != len(m.svids) || len(other.Crl) != m.revocations {
			t.Fatalf("%d identities and %d lists, the library reads %d and %d", len(m.svids), m.revocations, len(other.Svids), len(other.Crl))
		}
		for i, r := range m.svids {
			o := other.Svids[i]
			if o.SpiffeId != r.id || string(o.X509Svid) != string(r.chain) || string(o.X509SvidKey) != string(r.key) || string(o.Bundle) != string(r.bundle) {
				t.Fatalf("identity %d: %+v, the library reads %v", i, r, o)
			}
		}
	})
}
