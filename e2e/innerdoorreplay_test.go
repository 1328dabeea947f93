package e2e

import (
	"strings"
	"testing"

	"sallyport.dev/internal/httpsig"
)

// TestInnerDoorReplayedSignature: a signature is taken once, on whatever
// connection it comes.
func TestInnerDoorReplayedSignature(t *testing.T) {
	t.Parallel()
	exactly(t, replayedSignature) // a signature is taken by Valkey's leave
}

func replayedSignature(t *attempt) {
	n := startInner(t, "ledger")
	token := n.inside(n.login(n.addUser("alice@shop.example")))
	front := n.member("front")
	w, other := front.wire(t, "ledger"), front.wire(t, "ledger")
	signed := w.craft(httpsig.Signature, "POST", "/transfers", token(), "1")
	w.send(signed).mustPass(t, "a signed request")
	w.send(signed).wants(t, "the same again", "proof.replayed")
	other.send(signed).wants(t, "the same on another connection", "proof.replayed")
	front.wire(t, "ledger").send(with(signed, "X-Other", "1")).wants(t, "the same with a header that nothing covers", "proof.replayed")
	if all := n.programs["ledger"].all(); len(all) != 1 {
		t.Errorf("the service was asked %d times, want once", len(all))
	}
	longer := w.craft(httpsig.Signature, "POST", "/transfers", token(), "1")
	w.send(longer).mustPass(t, "another signed request")
	chain := longer.Header.Get("Sallyport-Certificate")
	longer.Header.Set("Sallyport-Certificate", chain+", "+chain)
	w.send(longer).wants(t, "the same beside another spelling of the certificates, which nothing covers", "proof.replayed")
	refused := w.craft(httpsig.Signature, "POST", "/transfers", token(), "1")
	bad := &crafted{refused.Method, refused.Target, refused.Host, "2", refused.Header.Clone()}
	w.send(bad).wants(t, "a signed head with another body", "proof.digest")
	w.send(refused).wants(t, "its true body after that: the proof is spent", "proof.replayed")
}

// secondLedger starts another instance of ledger behind a sidecar of its own.
func (n *inner) secondLedger() (address string, service *program) {
	n.t.Helper()
	address, service = freeAddress(n.t), startProgram(n.t, "127.0.0.1:0", nil)
	text := strings.NewReplacer(n.address["ledgerdoor"], address, n.programs["ledger"].address, service.address).Replace(n.zoneText())
	n.write("second.yaml", text)
	token := n.write("second.join", n.must("join", "ledger"))
	n.launchSidecar("second.yaml", "ledger", "ledger-second", "--join-file", token).waitReady()
	return address, service
}

// TestInnerDoorReplayedToAnotherReplica: a signed request that one replica took is
// refused by the other (SV-10).
func TestInnerDoorReplayedToAnotherReplica(t *testing.T) {
	t.Parallel()
	exactly(t, replayedToAnotherReplica) // a signature is taken by Valkey's leave
}

func replayedToAnotherReplica(t *attempt) {
	n := startInner(t, "ledger")
	address, service := n.secondLedger()
	token := n.inside(n.login(n.addUser("alice@shop.example")))
	front := n.member("front")
	one := front.wire(t, "ledger")
	two := enterDoor(t, front.source, "ledger", address)
	two.send(two.craft(httpsig.Signature, "POST", "/transfers", token(), "1")).mustPass(t, "a signed request to the second replica")
	two.send(one.craft(httpsig.MAC, "POST", "/entries", token(), "1")).wants(t, "a mac of the first replica's connection", "proof.invalid")
	theirs := enterDoor(t, n.member("aside").source, "ledger", address)
	seen := one.craft(httpsig.Signature, "POST", "/transfers", token(), "1")
	one.send(seen).mustPass(t, "a signed request to the first replica")
	theirs.send(seen).wants(t, "the same bytes to the second replica by another service", "proof.invalid")
	signed := one.craft(httpsig.Signature, "POST", "/transfers", token(), "1")
	one.send(signed).mustPass(t, "another signed request to the first replica")
	two.send(signed).wants(t, "the same bytes to the second replica by the same service", "proof.replayed")
	if all := service.all(); len(all) != 1 {
		t.Errorf("the service of the second replica was asked %d times, want once", len(all))
	}
}
