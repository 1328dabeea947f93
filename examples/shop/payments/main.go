// Payments is the deepest layer: orders may charge, support may look, and the
// payment partner reports back with an API key through a listener of its own.
package main

import (
	"flag"
	"log"
	"net/http"
	"sync"

	"sallyport.dev/examples/shop/internal/web"
	"sallyport.dev/guard"
)

// Charge is one payment. Amount is in cents.
type Charge struct {
	ID       int    `json:"id"`
	Customer string `json:"customer"`
	Amount   int    `json:"amount"`
	State    string `json:"state"` // pending, settled
}

// payments keeps its charges in memory.
type payments struct {
	mu      sync.Mutex
	charges []Charge // guarded by mu; the index is ID-1
}

func main() {
	listen := flag.String("listen", "127.0.0.1:9004", "address to serve on")
	flag.Parse()
	ctx, stop := web.Context()
	defer stop()

	g, err := guard.New(ctx, guard.Config{Service: "payments"})
	if err != nil {
		log.Fatal(err)
	}
	p := &payments{charges: []Charge{}}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /charges", p.charge)
	mux.HandleFunc("GET /payments", p.list)
	mux.HandleFunc("POST /callbacks/payment", p.settle)
	web.Serve(ctx, *listen, g.Protect(mux))
}

// charge books an amount on the user whose request led here: the inside token
// came along from the gateway through orders, signed.
func (p *payments) charge(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Amount int `json:"amount"`
	}
	if !web.Decode(w, r, &in) {
		return
	}
	if in.Amount <= 0 {
		web.JSON(w, http.StatusBadRequest, map[string]string{"error": "amount must be above 0"})
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	c := Charge{ID: len(p.charges) + 1, Customer: guard.PrincipalFrom(r.Context()).Subject, Amount: in.Amount, State: "pending"}
	p.charges = append(p.charges, c)
	web.JSON(w, http.StatusCreated, c)
}

func (p *payments) list(w http.ResponseWriter, _ *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	web.JSON(w, http.StatusOK, p.charges)
}

func (p *payments) settle(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Charge int `json:"charge"`
	}
	if !web.Decode(w, r, &in) {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if in.Charge < 1 || in.Charge > len(p.charges) {
		web.JSON(w, http.StatusNotFound, map[string]string{"error": "no such charge"})
		return
	}
	p.charges[in.Charge-1].State = "settled"
	web.JSON(w, http.StatusOK, p.charges[in.Charge-1])
}
