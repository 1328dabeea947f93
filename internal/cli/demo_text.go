package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// tell prints urls, logins and what to try. Every curl line works as pasted in
// another shell, from top to bottom.
func (d *demo) tell() {
	self, err := os.Executable()
	if err != nil {
		self = "sallyport"
	}
	replace := strings.NewReplacer(
		"{CA}", pasted(filepath.Join(d.data, "ca.pem")),
		"{DATA}", pasted(d.data),
		"{PASSWORD}", d.password,
		"{KEY}", d.key,
		"{SALLYPORT}", pasted(self),
		"{ADMIN}", d.zone.Admin,
	)
	fmt.Fprint(d.stdout, replace.Replace(demoText))
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

  logins    alice@shop.example   bob@shop.example   customers
            carol@shop.example                      merchant and support
  password  {PASSWORD}

Paste this once, then try what you like:

  alias try='curl -sS --cacert {CA} -w "\n%{http_code}\n"'
  login() { curl -sS --cacert {CA} -H 'Content-Type: application/json' -d "{\"email\":\"$1\",\"password\":\"{PASSWORD}\"}" https://localhost:8443/auth/login | sed 's/.*"token":"\([^"]*\)".*/\1/'; }
  ALICE=$(login alice@shop.example); BOB=$(login bob@shop.example); CAROL=$(login carol@shop.example); KEY={KEY}

What is allowed:

  try https://localhost:8443/products
  try -H "Authorization: Bearer $ALICE" https://localhost:8443/auth/me
  try -H "Authorization: Bearer $ALICE" -H 'Content-Type: application/json' -d '{"product":1,"amount":1900}' https://localhost:8443/orders
  try -H "Authorization: Bearer $ALICE" https://localhost:8443/orders/1
  try -H "Authorization: Bearer $CAROL" https://localhost:8443/payments
  try -H "X-API-Key: $KEY" -H 'Content-Type: application/json' -d '{"charge":1}' https://localhost:8444/callbacks/payment

What is not, each for a reason of its own:

  try https://localhost:8443/orders/1                                          # no credential: 401
  try -H "Authorization: Bearer $BOB" https://localhost:8443/orders/1          # another's order: 404
  try -H "Authorization: Bearer $BOB" https://localhost:8443/payments          # no such role: 403
  try -H "Authorization: Bearer $BOB" -X POST https://localhost:8443/charges   # inside only: 404
  try -H "X-API-Key: $KEY" https://localhost:8443/callbacks/payment            # the partner's route, at the wrong door: 404
  try --path-as-is https://localhost:8443/products/../charges                  # an ambiguous path: 400
  try -H "X-User-Id: admin" -H "Txn-Token: forged" https://localhost:8443/products/1   # forged names are dropped: 200, and nobody saw them
  curl -sS http://127.0.0.1:9003/accounts/1                                    # past the gateway: the guard refuses by itself

Log out, and the very next request is refused:

  try -H "Authorization: Bearer $ALICE" -X POST https://localhost:8443/auth/logout
  try -H "Authorization: Bearer $ALICE" https://localhost:8443/auth/me

One id finds a request again, wherever it went:

  ID=$(cat /proc/sys/kernel/random/uuid 2>/dev/null || uuidgen | tr A-Z a-z)
  try -H "X-Correlation-Id: $ID" -H "Authorization: Bearer $BOB" https://localhost:8443/orders/1
  {SALLYPORT} logs --data {DATA} --correlation "$ID"
  {SALLYPORT} logs --data {DATA} --since 10m --status 400-499

`
