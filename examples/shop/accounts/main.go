// Accounts holds what the shop knows of its customers. The map lets a customer
// read one account, the own one, directly or through other services.
package main

import (
	"flag"
	"log"
	"net/http"

	"sallyport.dev/examples/shop/internal/web"
	"sallyport.dev/guard"
)

// Account is a customer's standing. Credit is in cents.
type Account struct {
	ID     string `json:"id"`
	Credit int    `json:"credit"`
}

func main() {
	listen := flag.String("listen", "127.0.0.1:9003", "address to serve on")
	flag.Parse()
	ctx, stop := web.Context()
	defer stop()

	g, err := guard.New(ctx, guard.Config{Service: "accounts"})
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /accounts/{id}", get)
	if err := g.ListenAndServe(ctx, *listen, mux); err != nil {
		log.Fatal(err)
	}
}

// get answers with the account of the path. That it is the caller's own was
// checked before: `owner: "path:id"`. Who asks, and for whom, holds over every hop.
func get(w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	log.Printf("account read by %q for user %s, correlation id %s", guard.Caller(ctx), guard.PrincipalFrom(ctx).Subject, guard.CorrelationID(ctx))
	web.JSON(w, http.StatusOK, Account{ID: r.PathValue("id"), Credit: 100_000})
}
