// Payments is the deepest layer: orders may charge, customers see and dispute
// what is theirs, support may look, and the payment partner reports back with an
// API key through a listener of its own.
package main

import (
	"flag"
	"log"
	"net/http"
	"strconv"
	"sync"

	"sallyport.dev/examples/shop/internal/web"
	"sallyport.dev/guard"
)

// Charge is one payment. Amount is in cents.
type Charge struct {
	ID       int    `json:"id"`
	Customer string `json:"customer"`
	Amount   int    `json:"amount"`
	State    string `json:"state"` // pending, settled, disputed
}

// payments keeps its charges in memory.
type payments struct {
	client *http.Client // speaks to declared calls only

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
	p := &payments{client: g.Client(), charges: []Charge{}}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /charges", p.charge)
	mux.HandleFunc("GET /users/{user}/charges", p.ofUser)
	mux.HandleFunc("POST /payments/{id}/dispute", p.dispute)
	mux.HandleFunc("GET /payments", p.list)
	mux.HandleFunc("POST /callbacks/payment", p.settle)
	if err := g.ListenAndServe(ctx, *listen, mux); err != nil {
		log.Fatal(err)
	}
}

// charge books an amount on the user whose request led here: the inside token
// came along from the gateway through orders.
func (p *payments) charge(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Amount int `json:"amount"`
	}
	if !web.Decode(w, r, &in) {
		return
	}
	if in.Amount <= 0 {
		web.Fail(w, http.StatusBadRequest, "amount must be above 0")
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	c := Charge{ID: len(p.charges) + 1, Customer: guard.PrincipalFrom(r.Context()).Subject, Amount: in.Amount, State: "pending"}
	p.charges = append(p.charges, c)
	web.JSON(w, http.StatusCreated, c)
}

// ofUser answers with the states of a customer's charges, and what is left of
// the credit that accounts knows.
func (p *payments) ofUser(w http.ResponseWriter, r *http.Request) {
	user := r.PathValue("user")
	var account struct{ Credit int }
	if err := web.Call(r.Context(), p.client, http.MethodGet, "http://accounts/accounts/"+user, nil, nil, &account); err != nil {
		log.Print(err)
		web.Fail(w, http.StatusBadGateway, "the account could not be read")
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	states := map[int]string{}
	for _, c := range p.charges {
		if c.Customer == user {
			states[c.ID] = c.State
			account.Credit -= c.Amount
		}
	}
	web.JSON(w, http.StatusOK, map[string]any{"charges": states, "credit": account.Credit})
}

// dispute shows `owner: code`: the service asks before it does or answers anything
// else, and the guard withholds the answer of a handler that forgets to.
func (p *payments) dispute(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.find(r.PathValue("id"))
	if c == nil {
		c = &Charge{} // nobody's
	}
	if !guard.Owns(r.Context(), c.Customer) {
		return // the guard answers 404
	}
	c.State = "disputed"
	web.JSON(w, http.StatusOK, c)
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
	c := p.find(strconv.Itoa(in.Charge))
	if c == nil {
		web.Fail(w, http.StatusNotFound, "no such charge")
		return
	}
	c.State = "settled"
	web.JSON(w, http.StatusOK, c)
}

// find returns a charge by the id of a path, nil when there is none. The caller
// holds mu.
func (p *payments) find(id string) *Charge {
	n, err := strconv.Atoi(id)
	if err != nil || n < 1 || n > len(p.charges) {
		return nil
	}
	return &p.charges[n-1]
}
