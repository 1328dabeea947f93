package guard_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"time"

	"sallyport.dev/guard"
)

// A whole service. The map says who reaches what; the handlers only serve. Who
// the service is, `sallyport` says by the environment: the map's name in
// SALLYPORT_SERVICE, and the certificate over the Workload API.
//
//	orders:
//	  upstream: https://127.0.0.1:9002
//	  embedded: true
//	  routes:
//	    GET /orders/{id}: {allow: user, owner: "response:/customer"}
//	  calls:
//	    accounts: [GET /accounts/{id}]
func Example() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()

	mux := http.NewServeMux()
	mux.HandleFunc("GET /orders/{id}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]string{"id": r.PathValue("id"), "customer": "usr_1"})
	})

	g, err := guard.New(ctx, guard.Config{})
	if err != nil {
		log.Fatal(err)
	}
	if err := g.ListenAndServe(ctx, "127.0.0.1:9002", mux); err != nil {
		log.Fatal(err)
	}
}

// A server of one's own: the guard's listener and ConnContext tell Protect who
// calls. Without them every request is refused.
func ExampleGuard_Protect() {
	var g *guard.Guard // from guard.New
	mux := http.NewServeMux()

	_ = func(l net.Listener) error {
		srv := &http.Server{Handler: g.Protect(mux), ConnContext: g.ConnContext, ReadHeaderTimeout: 5 * time.Second}
		return srv.Serve(g.Listener(l))
	}
}

// A call to another service takes the context of the request in hand: the inside
// token, the correlation id and the trace go along by themselves.
func ExampleGuard_Client() {
	var g *guard.Guard // from guard.New

	_ = func(w http.ResponseWriter, r *http.Request) {
		req, err := http.NewRequestWithContext(r.Context(), http.MethodGet, "http://accounts/accounts/7", http.NoBody)
		if err != nil {
			http.Error(w, "internal error", http.StatusInternalServerError)
			return
		}
		res, err := g.Client().Do(req)
		if err != nil {
			http.Error(w, "accounts cannot be reached", http.StatusBadGateway)
			return
		}
		defer res.Body.Close()
		w.WriteHeader(res.StatusCode)
	}
}

// The handler of a route with `owner: code` says whose the object is. Until it
// does, nothing that it writes leaves the service.
func ExampleOwns() {
	orders := map[string]string{"7": "usr_1"} // customer by order

	_ = func(w http.ResponseWriter, r *http.Request) {
		customer := orders[r.PathValue("id")] // empty when there is none: nobody's
		if !guard.Owns(r.Context(), customer) {
			return // the guard answers 404
		}
		fmt.Fprintln(w, "shipped")
	}
}

// Who is asking, for what the map cannot say.
func ExamplePrincipalFrom() {
	_ = func(w http.ResponseWriter, r *http.Request) {
		p := guard.PrincipalFrom(r.Context())
		switch {
		case p.Anonymous():
			fmt.Fprintln(w, "welcome")
		case p.HasRole("support"):
			fmt.Fprintln(w, "all orders")
		default:
			fmt.Fprintln(w, "the orders of", p.Subject)
		}
	}
}
