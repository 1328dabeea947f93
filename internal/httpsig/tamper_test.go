package httpsig

import (
	"strings"
	"testing"

	"sallyport.dev/internal/problem"
)

// strengths is each strength with one sender and a receiver that knows it; check
// forgets nothing between calls.
func strengths(t *testing.T) map[string]struct {
	p     Profile
	prove func(Message) Proof
	check func(Message, Proof) error
} {
	sender := newSVID(t, senderID)
	signer, mac := macPair(t)
	verifier := newVerifier(t, sender)
	return map[string]struct {
		p     Profile
		prove func(Message) Proof
		check func(Message, Proof) error
	}{
		"mac": {
			routeMAC,
			func(m Message) Proof { return macProof(t, signer, m, routeMAC, start) },
			func(m Message, p Proof) error { return mac.Verify(&m, routeMAC, p, start) },
		},
		"signature": {
			routeSig,
			func(m Message) Proof { return sender.proof(t, m, routeSig, start) },
			func(m Message, p Proof) error {
				_, err := verifier.Verify(t.Context(), &m, routeSig, p, start)
				return err
			},
		},
	}
}

// pieces are the covered values of a message.
func pieces(m *Message) map[string]*string {
	return map[string]*string{
		"@method": &m.Method, "@request-target": &m.Target, "@authority": &m.Authority, "txn-token": &m.Token,
		"x-correlation-id": &m.Correlation, "sallyport-client": &m.Client, "content-digest": &m.Digest,
	}
}

func TestEveryByteIsCovered(t *testing.T) {
	for strength, s := range strengths(t) {
		m := good()
		proof := s.prove(m)
		for name := range pieces(&m) {
			step := 1
			if name == "txn-token" {
				step = 97
			}
			if strength == "signature" {
				step *= 11
			}
			for i := 0; i < len(*pieces(&m)[name]); i += step {
				other := m
				v := pieces(&other)[name]
				flipped := []byte(*v)
				if flipped[i]++; name == "@authority" && strings.EqualFold(string(flipped), *v) {
					t.Fatal("the same authority")
				}
				*v = string(flipped)
				wantReason(t, strength+": "+name+" "+*v, s.check(other, proof), problem.ProofInvalid)
			}
			other := m
			*pieces(&other)[name] = ""
			wantReason(t, strength+": without "+name, s.check(other, proof), problem.ProofInvalid)
		}
		// The control comes last: nothing above used the proof up.
		if err := s.check(m, proof); err != nil {
			t.Errorf("%s: the message as sent: %v", strength, err)
		}
		wantReason(t, strength+": once more", s.check(m, proof), problem.ProofReplayed)
	}
}

func TestProofBytes(t *testing.T) {
	for strength, s := range strengths(t) {
		m := good()
		proof := s.prove(m)
		start := len(proof.Signature) - 12
		for i := start; i < len(proof.Signature); i++ {
			other := proof
			b := []byte(proof.Signature)
			b[i] ^= 1
			other.Signature = string(b)
			wantReason(t, strength+": signature "+other.Signature, s.check(m, other), problem.ProofInvalid)
		}
		for _, edit := range [][2]string{
			{`created=17`, `created=18`},          // covered by the proof itself
			{`nonce="`, `nonce="1`},               // another counter, or one character too many
			{`tag="`, `tag="x`},                   //
			{`mac=`, `sig1=`}, {`wimse=`, `mac=`}, // labels
			{` "txn-token"`, ``},
			{` "txn-token"`, ` "txn-token" "txn-token"`},
			{`"@method" "@request-target"`, `"@request-target" "@method"`},
			{`"content-digest"`, `"content-digest" "content-type"`},
			{` "content-digest"`, ``},
			{`"txn-token"`, `"txn-token";bs`}, {`"txn-token"`, `"txn-token";sf`}, {`"txn-token"`, `"txn-token";tr`},
			{`"@method"`, `"@method";req`}, {`"txn-token"`, `"Txn-Token"`},
			{`("@method"`, `( "@method"`}, {`;created`, `; created`},
			{`;tag=`, `;keyid="k";tag=`}, {`;tag=`, `;alg="none";tag=`}, {`;tag=`, `;alg="hmac-sha256";tag=`},
			{`;tag=`, `;tag="a";tag=`}, {`;nonce=`, `;nonce="1";nonce=`}, {`;created=`, `;created=1790000000;created=`},
			{`;created=`, `;created=0`}, {`;created=`, `;created=-`}, {`;created=`, `;created=@`},
		} {
			if !strings.Contains(proof.Input, edit[0]) {
				continue // of the other strength
			}
			other := proof
			other.Input = strings.Replace(proof.Input, edit[0], edit[1], 1)
			err := s.check(m, other)
			if got := problem.ReasonOf(err); got != problem.ProofInvalid && got != problem.ProofExpired && got != problem.ProofDowngraded {
				t.Errorf("%s: %s: %v", strength, other.Input, err)
			}
		}
		for name, input := range map[string]string{
			"trailing space":  proof.Input + " ",
			"two labels":      proof.Input + ", " + proof.Input,
			"another label":   proof.Input + `, sig2=("@method");created=1790000000`,
			"label before":    `sig2=("@method");created=1790000000, ` + proof.Input,
			"parameter after": proof.Input + `;keyid="k"`,
			"expires after":   proof.Input + `;expires=1790000060`,
			"cut":             proof.Input[:len(proof.Input)-1],
			"long":            proof.Input + strings.Repeat(" ", 1000),
			"no components":   s.p.Demand.label() + `=();created=1790000000`,
			"empty":           "",
		} {
			other := proof
			other.Input = input
			wantReason(t, strength+": "+name, s.check(m, other), problem.ProofInvalid)
		}
		for name, signature := range map[string]string{
			"two labels":     proof.Signature + ", " + proof.Signature,
			"parameter":      proof.Signature + ";a=1",
			"unpadded":       strings.ReplaceAll(proof.Signature, "=:", ":"),
			"another label":  "x" + proof.Signature,
			"a line break":   proof.Signature[:20] + "\n" + proof.Signature[21:],
			"one byte fewer": proof.Signature[:len(proof.Signature)-6] + "A==:",
			"empty":          "",
			"no bytes":       s.p.Demand.label() + "=::",
		} {
			other := proof
			other.Signature = signature
			wantReason(t, strength+": signature with "+name, s.check(m, other), problem.ProofInvalid)
		}
		if err := s.check(m, proof); err != nil {
			t.Errorf("%s: the proof as made: %v", strength, err)
		}
	}
}

// Parameters in another order, or none of the list, are refused however well
// they are signed: the verifier's list is the security.
func TestWellSignedOtherLists(t *testing.T) {
	m := good()
	key := newKeyed(key32(7))
	_, v := macPair(t)
	prove := func(cs []component, params string) Proof {
		sum := key.sum(appendBase(nil, cs, params))
		return Proof{Input: "mac=" + params, Signature: "mac=:" + binary.EncodeToString(sum[:]) + ":"}
	}
	all, n, err := m.components(routeMAC)
	if err != nil {
		t.Fatal(err)
	}
	cs := all[:n]
	const tail = `;created=1790000000;nonce="5";tag="sallyport-mac"`
	for _, c := range []struct {
		name   string
		cs     []component
		params string
		want   problem.Reason
	}{
		{"nothing covered (RFC 9421 B.2.1)", nil, "()" + tail, problem.ProofInvalid},
		{"no digest", cs[:6], coveredStream + tail, problem.ProofInvalid},
		{"one more", append(cs[:7:7], component{"date", "x"}), strings.Replace(covered, ")", ` "date")`, 1) + tail, problem.ProofInvalid},
		{"no created", cs, covered + `;nonce="5";tag="sallyport-mac"`, problem.ProofInvalid},
		{"no nonce", cs, covered + `;created=1790000000;tag="sallyport-mac"`, problem.ProofInvalid},
		{"no tag", cs, covered + `;created=1790000000;nonce="5"`, problem.ProofInvalid},
		{"another tag", cs, covered + `;created=1790000000;nonce="5";tag="wimse-workload-to-workload"`, problem.ProofInvalid},
		{"another order", cs, covered + `;nonce="5";created=1790000000;tag="sallyport-mac"`, problem.ProofInvalid},
		{"keyid", cs, covered + tail + `;keyid="k"`, problem.ProofInvalid},
		{"alg", cs, covered + tail + `;alg="hmac-sha256"`, problem.ProofInvalid},
		{"counter of zero", cs, covered + `;created=1790000000;nonce="0";tag="sallyport-mac"`, problem.ProofInvalid},
		{"counter with a zero", cs, covered + `;created=1790000000;nonce="05";tag="sallyport-mac"`, problem.ProofInvalid},
		{"counter too great", cs, covered + `;created=1790000000;nonce="18446744073709551616";tag="sallyport-mac"`, problem.ProofInvalid},
		{"counter with a sign", cs, covered + `;created=1790000000;nonce="+5";tag="sallyport-mac"`, problem.ProofInvalid},
		{"expires", cs, covered + `;created=1790000000;expires=1790000060;nonce="5";tag="sallyport-mac"`, problem.ProofInvalid},
		{"the profile", cs, covered + tail, problem.OK},
		{"the profile again", cs, covered + tail, problem.ProofReplayed},
	} {
		wantReason(t, c.name, v.Verify(&m, routeMAC, prove(c.cs, c.params), start), c.want)
	}
}
