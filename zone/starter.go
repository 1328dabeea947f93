package zone

import (
	"fmt"
	"strings"
)

// Starter returns a commented map for a zone of the given name: one service on
// loopback, with a route for anybody and one for users.
func Starter(name string) []byte {
	return starter(name, "catalog", `      GET /products: anonymous             # anybody
      GET /products/{id}: {allow: anonymous, params: {id: uuid}}
      POST /reviews: {allow: user, limit: 30/min}
`)
}

// starter is the text around the routes of the first service.
func starter(name, service, routes string) []byte {
	var b strings.Builder
	if !isDomain(name) {
		name = fmt.Sprintf("%q", name) // Parse will say what is wrong with it
	}
	owner := "# owner: team@" + strings.Trim(name, `"`)
	fmt.Fprintf(&b, `# The map of a zone: who may reach what. What it does not say is denied.
#
#   sallyport check zone.yaml    what is wrong or weak, and the access table
#   sallyport serve zone.yaml    run it
#
# Every key is in docs/reference/map.md; `+"`sallyport schema`"+` gives editors the same.

version: 1
zone: %s

# None written: one listener, public, on :8443 with a certificate of the zone's own CA.
# listeners:
#   public:
#     address: ":8443"
#     hosts: [%s, localhost]
#     certificate: {cert: cert.pem, key: key.pem}
#     limits: {rate: 300/min}

# Accounts are made by `+"`sallyport user add`"+`, unless registration is open.
# identity:
#   registration: open

services:
  %s:
    upstream: http://127.0.0.1:9001        # or unix:/run/%s.sock
    %-38s # who answers for its security
    # embedded: true                       # it uses the Go package guard: roles, scopes and owners are checked again inside
    # health: GET /healthz
    routes:
%s`, name, strings.Trim(name, `"`), service, service, owner, routes)
	return []byte(b.String())
}
