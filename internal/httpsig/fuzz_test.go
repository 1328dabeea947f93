package httpsig

import (
	"strings"
	"testing"

	"github.com/dunglas/httpsfv"

	"sallyport.dev/internal/problem"
)

// FuzzParseInput: what the strict reader accepts is what is written, and a
// reader of structured fields in general reads the same.
func FuzzParseInput(f *testing.F) {
	for _, kind := range []Strength{MAC, Signature} {
		for _, p := range []Profile{{}, {NoDigest: true}} {
			in := parameters{created: 1790000000, expires: 1790000060, nonce: "AAAAAAAAAAAAAAAAAAAAAA"}
			if kind == MAC {
				in.counter, in.nonce = 7, ""
			}
			f.Add(kind.label()+"="+string(in.append(nil, kind, p)), kind == MAC, p.NoDigest)
		}
	}
	f.Add(`mac=("@method");created=1;nonce="1";tag="sallyport-mac"`, true, false)
	f.Add(`mac=`+covered+`;created=1;nonce="1";tag="sallyport-mac", sig2=()`, true, false)
	f.Add(`wimse=`+covered+`;created=01;expires=-1;nonce="";tag="wimse-workload-to-workload";keyid="a"`, false, false)
	f.Fuzz(func(t *testing.T, s string, mac, stream bool) {
		kind, p := Signature, Profile{NoDigest: stream}
		if mac {
			kind = MAC
		}
		in, err := parseInput(s, kind, p)
		if err != nil {
			return
		}
		written := in
		if mac {
			written.nonce = ""
		}
		if got := kind.label() + "=" + string(written.append(nil, kind, p)); got != s {
			t.Fatalf("%q is read as %q", s, got)
		}
		dict, err := httpsfv.UnmarshalDictionary([]string{s})
		if err != nil || len(dict.Names()) != 1 {
			t.Fatalf("%q is no dictionary of one: %v", s, err)
		}
		member, _ := dict.Get(kind.label())
		list, ok := member.(httpsfv.InnerList)
		if !ok || len(list.Items) != strings.Count(p.covered(), " ")+1 {
			t.Fatalf("%q holds %v", s, member)
		}
		created, _ := list.Params.Get("created")
		tag, _ := list.Params.Get("tag")
		nonce, _ := list.Params.Get("nonce")
		if created != in.created || tag != kind.tag() || nonce != in.nonce {
			t.Fatalf("%q: %v %v %v", s, created, tag, nonce)
		}
	})
}

// FuzzVerify throws whole proofs and pieces of messages at receivers whose keys
// the fuzzer does not hold: only what was made may pass, and once.
func FuzzVerify(f *testing.F) {
	sender := newSVID(f, senderID)
	s, _ := macPair(f)
	m := good()
	type made struct{ input, signature, target, token, client string }
	known := map[made]bool{}
	for _, p := range []Proof{macProof(f, s, m, routeMAC, start), sender.proof(f, m, routeSig, start)} {
		known[made{p.Input, p.Signature, m.Target, m.Token, m.Client}] = true
		f.Add(p.Input, p.Signature, p.Certificate, m.Target, m.Token, m.Client)
		f.Add(p.Input, p.Signature, p.Certificate, m.Target+"1", m.Token, m.Client)
		f.Add(p.Input+";a", p.Signature+", mac=:AA==:", "::", "*", "a,b", "\n")
	}
	f.Fuzz(func(t *testing.T, input, signature, certificate, target, token, client string) {
		_, mac := macPair(t)
		sig := newVerifier(t, sender)
		other := m
		other.Target, other.Token, other.Client = target, token, client
		p := Proof{Input: input, Signature: signature, Certificate: certificate}
		err := mac.Verify(&other, routeMAC, p, start)
		if p.Strength() == Signature {
			_, err = sig.Verify(t.Context(), &other, routeSig, p, start)
		}
		if err == nil && !known[made{input, signature, target, token, client}] {
			t.Fatalf("accepted what was never made: %q %q", input, signature)
		}
		if r := problem.ReasonOf(err); err != nil && !strings.HasPrefix(r.Code(), "proof.") {
			t.Fatalf("reason %s: %v", r, err)
		}
	})
}

// FuzzCertificates: one spelling, and what other readers read.
func FuzzCertificates(f *testing.F) {
	for _, s := range []string{":AA==:", ":AA==:, :AAE=:", "::", ":AA==:;a=1", `"AA=="`, ":AA==:,:AA==:", ":A\nA==:"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		chain, err := parseCertificates(s)
		if err != nil {
			return
		}
		if got := string(appendCertificates(nil, chain)); got != s {
			t.Fatalf("%q is read as %q", s, got)
		}
		list, err := httpsfv.UnmarshalList([]string{s})
		if err != nil || len(list) != len(chain) {
			t.Fatalf("%q is no list of %d: %v", s, len(chain), err)
		}
		for i := range list {
			if der, ok := list[i].(httpsfv.Item).Value.([]byte); !ok || string(der) != string(chain[i]) {
				t.Fatalf("%q: certificate %d is %v", s, i, list[i])
			}
		}
	})
}

// FuzzDigest: one spelling, and 32 bytes.
func FuzzDigest(f *testing.F) {
	f.Add(EmptyDigest)
	f.Add("sha-256=:AAAA:")
	f.Add("sha-512=:AAAA:, " + EmptyDigest)
	f.Fuzz(func(t *testing.T, s string) {
		if sum, err := ParseDigest(s); err == nil && FormatDigest(sum) != s {
			t.Fatalf("%q is read as %q", s, FormatDigest(sum))
		}
	})
}
