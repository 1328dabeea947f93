// Orders takes orders: it reads the customer's credit from accounts and charges
// through payments, both on the authority of the user whose request it serves.
//
// It imports nothing of Sallyport. A sidecar stands before it, so that a request
// that arrives is allowed, and X-User-Id is who made it; what it calls, it calls
// through the sidecar. A service in any other language does the same.
package main

import (
	"context"
	"flag"
	"log"
	"net"
	"net/http"
	"strings"
	"time"

	"sallyport.dev/examples/shop/internal/web"
)

// orders serves the operations; book keeps the orders.
type orders struct {
	book   book
	client *http.Client // every connection of it goes to the sidecar
}

func main() {
	listen := flag.String("listen", "unix:/run/sallyport/shop/orders.sock", "where the sidecar finds this service (`upstream` in the map)")
	calls := flag.String("calls", "unix:/run/sallyport/shop/orders-calls.sock", "where the sidecar takes this service's calls (`outbound` in the map)")
	flag.Parse()
	ctx, stop := web.Context()
	defer stop()

	toSidecar := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", strings.TrimPrefix(*calls, "unix:"))
	}
	o := &orders{client: &http.Client{Transport: &http.Transport{DialContext: toSidecar}, Timeout: 10 * time.Second}}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /orders", o.create)
	mux.HandleFunc("GET /orders/{id}", o.get)
	mux.HandleFunc("PATCH /orders/{id}", o.change)
	mux.HandleFunc("DELETE /orders/{id}", o.remove)
	mux.HandleFunc("GET /users/{user}/orders", o.ofUser)
	mux.HandleFunc("POST /sales", o.sales)
	web.Serve(ctx, *listen, mux)
}

// call asks another service through the sidecar. The host of the URL is the
// callee's name in the map. Sallyport-Request, sent back as it came, says for
// which request the call is: the user, the correlation id and the trace go along.
func (o *orders) call(r *http.Request, method, url string, in, out any) error {
	handle := http.Header{"Sallyport-Request": r.Header["Sallyport-Request"]}
	return web.Call(r.Context(), o.client, method, url, handle, in, out)
}

func (o *orders) create(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Product int `json:"product"`
		Amount  int `json:"amount"` // cents
	}
	if !web.Decode(w, r, &in) || !payable(w, in.Amount) {
		return
	}
	customer := r.Header.Get("X-User-Id")
	var account struct{ Credit int }
	if err := o.call(r, http.MethodGet, "http://accounts/accounts/"+customer, nil, &account); err != nil {
		fail(w, r, err)
		return
	}
	if in.Amount > account.Credit {
		web.Fail(w, http.StatusConflict, "not enough credit")
		return
	}
	var charge struct{ ID int }
	if err := o.call(r, http.MethodPost, "http://payments/charges", map[string]int{"amount": in.Amount}, &charge); err != nil {
		fail(w, r, err)
		return
	}
	web.JSON(w, http.StatusCreated, o.book.add(Order{Customer: customer, Product: in.Product, Amount: in.Amount, Charge: charge.ID}))
}

// get has no ownership check: the map's `owner: "response:/customer"` lets the
// sidecar read the answer and withhold it from anybody else.
func (o *orders) get(w http.ResponseWriter, r *http.Request) {
	answer(w)(o.book.get(r.PathValue("id")))
}

// change is checked by `owner: "read:/customer"`: the sidecar GETs the order first.
func (o *orders) change(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Amount int `json:"amount"`
	}
	if web.Decode(w, r, &in) && payable(w, in.Amount) {
		answer(w)(o.book.update(r.PathValue("id"), func(order *Order) { order.Amount = in.Amount }))
	}
}

func (o *orders) remove(w http.ResponseWriter, r *http.Request) {
	answer(w)(o.book.remove(r.PathValue("id")))
}

// ofUser lists a user's orders with the states of their payments.
func (o *orders) ofUser(w http.ResponseWriter, r *http.Request) {
	user := r.PathValue("user")
	var paid struct{ Charges map[int]string } // state by id
	if err := o.call(r, http.MethodGet, "http://payments/users/"+user+"/charges", nil, &paid); err != nil {
		fail(w, r, err)
		return
	}
	list := o.book.of(user)
	for i := range list {
		list[i].State = paid.Charges[list[i].Charge]
	}
	web.JSON(w, http.StatusOK, list)
}

// sales answers how often products were ordered, and tells nothing of by whom.
func (o *orders) sales(w http.ResponseWriter, r *http.Request) {
	var products []int
	if web.Decode(w, r, &products) {
		web.JSON(w, http.StatusOK, o.book.sales(products))
	}
}

// payable answers 400 to an amount that is none. A real shop takes the price from
// the catalog, never from the customer.
func payable(w http.ResponseWriter, amount int) bool {
	if amount <= 0 {
		web.Fail(w, http.StatusBadRequest, "amount must be above 0")
	}
	return amount > 0
}

func fail(w http.ResponseWriter, r *http.Request, err error) {
	log.Printf("%v, correlation id %s", err, r.Header.Get("X-Correlation-Id"))
	web.Fail(w, http.StatusBadGateway, "another service did not answer")
}

// answer writes an order, or 404.
func answer(w http.ResponseWriter) func(Order, bool) {
	return func(order Order, found bool) {
		if !found {
			web.Fail(w, http.StatusNotFound, "no such order")
			return
		}
		web.JSON(w, http.StatusOK, order)
	}
}
