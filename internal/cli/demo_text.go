package cli

import (
	"fmt"
	"path/filepath"
	"strings"
)

// tell prints urls, logins and what to try. Every curl line works as pasted in
// another shell, from top to bottom.
func (d *demo) tell() {
	reviews, others, missing := reviewsText, othersReviewText, ""
	if d.node == "" {
		reviews, others, missing = "", "", "\n  Node is not installed here (no `node` in PATH), so the service reviews is left out.\n"
	}
	attack := "  {ATTACK} -socket {RUN}/workload.sock\n"
	if joins(askedAs) {
		attack = "  (the attacks ask the Workload API for certificates, which knows processes on Linux only)\n"
	}
	replace := strings.NewReplacer(
		"{CA}", pasted(filepath.Join(d.data, "ca.pem")),
		"{DATA}", pasted(d.data),
		"{RUN}", pasted(d.run),
		"{PASSWORD}", d.password,
		"{KEY}", d.key,
		"{SALLYPORT}", pasted(d.self),
		"{ATTACK}", pasted(filepath.Join(d.services, "attack")),
		"{ADMIN}", d.zone.Admin,
	)
	text := strings.NewReplacer("{REVIEWS}", reviews, "{OTHERS REVIEW}", others, "{MISSING}", missing, "{ATTACK LINE}", attack).Replace(demoText)
	fmt.Fprint(d.stdout, replace.Replace(text))
}

// pasted writes a path so that a shell reads it as one word, inside of single
// quotes of an alias too.
func pasted(path string) string {
	var b strings.Builder
	for _, c := range path {
		if strings.ContainsRune(" \t\"'\\$`&|;<>()*?[]{}#!~", c) {
			b.WriteByte('\\')
		}
		b.WriteRune(c)
	}
	return b.String()
}

const demoText = `
The shop is open. Ctrl-C ends it and all its processes.

  shop      https://localhost:8443/products      anyone
  account   https://localhost:8443/auth/login    a page; the browser asks about the certificate: its root is {CA}
  partner   https://localhost:8444               another listener, for the payment partner's API key
  metrics   http://{ADMIN}/metrics
  map       {DATA}/zone.yaml

  logins    alice@shop.example   bob@shop.example   customers
            carol@shop.example                      merchant and support
  password  {PASSWORD}
{MISSING}
Paste this once, then try what you like:

  alias try='curl -sS --cacert {CA} -w "\n%{http_code}\n"'
  login() { curl -sS --cacert {CA} -H 'Content-Type: application/json' -d "{\"email\":\"$1\",\"password\":\"{PASSWORD}\"}" https://localhost:8443/auth/login | sed 's/.*"token":"\([^"]*\)".*/\1/'; }
  ALICE=$(login alice@shop.example); BOB=$(login bob@shop.example); CAROL=$(login carol@shop.example); KEY={KEY}

What is allowed:

  try https://localhost:8443/products
  try -H "Authorization: Bearer $ALICE" https://localhost:8443/auth/me
  try -H "Authorization: Bearer $ALICE" -H 'Content-Type: application/json' -d '{"product":1,"amount":1900}' https://localhost:8443/orders
  try -H "Authorization: Bearer $ALICE" https://localhost:8443/orders/1
  try https://localhost:8443/products/1                                        # how many were sold, orders tells catalog and nobody else
  try -H "Authorization: Bearer $CAROL" https://localhost:8443/payments
  try -H "X-API-Key: $KEY" -H 'Content-Type: application/json' -d '{"charge":1}' https://localhost:8444/callbacks/payment
  try -H "Authorization: Bearer $CAROL" 'https://localhost:8443/export?file=prices.csv'
{REVIEWS}
What is not, each for a reason of its own:

  try https://localhost:8443/orders/1                                          # no credential: 401
  try -H "Authorization: Bearer $BOB" https://localhost:8443/orders/1          # another's order: 404
  try -H "Authorization: Bearer $BOB" https://localhost:8443/payments          # no such role: 403
{OTHERS REVIEW}  try -H "Authorization: Bearer $BOB" -X POST https://localhost:8443/charges   # inside only: 404
  try -H "X-API-Key: $KEY" https://localhost:8443/callbacks/payment            # the partner's route, at the wrong door: 404
  try --path-as-is https://localhost:8443/products/../charges                  # an ambiguous path: 400
  try -H "X-User-Id: admin" -H "Txn-Token: forged" https://localhost:8443/products/1   # forged names are dropped: 200, and nobody saw them

An old service with holes, behind its sidecar. Straight to its socket, which this user alone can open, the hole is open; through the zone it is not:

  curl -sS --unix-socket {RUN}/shop/legacy.sock 'http://legacy/export?file=../customers.csv'
  try -H "Authorization: Bearer $CAROL" 'https://localhost:8443/export?file=../customers.csv'   # not a declared value: 400
  try -H "Authorization: Bearer $CAROL" -X POST 'https://localhost:8443/admin/restock?to=0'     # not in the map: 404

Past the gateway, to the inner doors. Without a certificate of the zone there is not even a handshake; the program then attacks with
stolen certificates and a stolen token: no proof, another's token, a replay, a changed body, a forged caller:

  curl -sS -k https://127.0.0.1:9003/accounts/1
{ATTACK LINE}
Log out, and the very next request is refused:

  try -H "Authorization: Bearer $ALICE" -X POST https://localhost:8443/auth/logout
  try -H "Authorization: Bearer $ALICE" https://localhost:8443/auth/me

One id finds a request again, wherever it went:

  ID=$(cat /proc/sys/kernel/random/uuid 2>/dev/null || uuidgen | tr A-Z a-z)
  try -H "X-Correlation-Id: $ID" -H "Authorization: Bearer $BOB" https://localhost:8443/orders/1
  {SALLYPORT} logs --data {DATA} --correlation "$ID"
  {SALLYPORT} logs --data {DATA} --since 10m --status 400-499

`

// reviewsText and othersReviewText are there where Node is.
const reviewsText = `  try -H "Authorization: Bearer $ALICE" -H 'Content-Type: application/json' -d '{"text":"It burns all night."}' https://localhost:8443/products/1/reviews
  try https://localhost:8443/products/1/reviews
`

const othersReviewText = `  try -H "Authorization: Bearer $BOB" -X DELETE https://localhost:8443/reviews/1   # another's review: 404
`
