// Orders takes orders: it reads the customer's credit from accounts and charges
// through payments, both on the authority of the user whose request it serves.
package main

import (
	"flag"
	"log"
	"net/http"

	"sallyport.dev/examples/shop/internal/web"
	"sallyport.dev/guard"
)

// orders serves the operations; book keeps the orders.
type orders struct {
	book   book
	client *http.Client // speaks to declared calls only
}

func main() {
	listen := flag.String("listen", "127.0.0.1:9002", "address to serve on")
	flag.Parse()
	ctx, stop := web.Context()
	defer stop()

	g, err := guard.New(ctx, guard.Config{Service: "orders"})
	if err != nil {
		log.Fatal(err)
	}
	o := &orders{client: g.Client()}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /orders", o.create)
	mux.HandleFunc("GET /orders/{id}", o.get)
	mux.HandleFunc("PATCH /orders/{id}", o.change)
	mux.HandleFunc("DELETE /orders/{id}", o.remove)
	mux.HandleFunc("POST /orders/{id}/notes", o.note)
	mux.HandleFunc("GET /users/{user}/orders", o.ofUser)
	web.Serve(ctx, *listen, g.Protect(mux))
}

func (o *orders) create(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Product int `json:"product"`
		Amount  int `json:"amount"` // cents
	}
	if !web.Decode(w, r, &in) || !payable(w, in.Amount) {
		return
	}
	customer := guard.PrincipalFrom(r.Context()).Subject
	var account struct {
		Credit int `json:"credit"`
	}
	if err := web.Call(o.client, r, http.MethodGet, "http://accounts/accounts/"+customer, nil, &account); err != nil {
		fail(w, err)
		return
	}
	if in.Amount > account.Credit {
		web.JSON(w, http.StatusConflict, map[string]string{"error": "not enough credit"})
		return
	}
	if err := web.Call(o.client, r, http.MethodPost, "http://payments/charges", map[string]int{"amount": in.Amount}, nil); err != nil {
		fail(w, err)
		return
	}
	web.JSON(w, http.StatusCreated, o.book.add(customer, in.Product, in.Amount))
}

// get has no ownership check: the map's `owner: "response:/customer"` lets the
// guard read the answer and withhold it from anybody else.
func (o *orders) get(w http.ResponseWriter, r *http.Request) {
	answer(w)(o.book.get(r.PathValue("id")))
}

// change is checked by `owner: "read:/customer"`: the guard GETs the order first.
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

// note shows `owner: code`: the service asks before it does or answers anything
// else, and the guard withholds the answer of a handler that forgets to.
func (o *orders) note(w http.ResponseWriter, r *http.Request) {
	order, found := o.book.get(r.PathValue("id"))
	if !guard.Owns(r.Context(), order.Customer) || !found {
		return // the guard answers 404
	}
	var in struct {
		Text string `json:"text"`
	}
	if !web.Decode(w, r, &in) {
		return
	}
	answer(w)(o.book.update(r.PathValue("id"), func(order *Order) { order.Notes = append(order.Notes, in.Text) }))
}

func (o *orders) ofUser(w http.ResponseWriter, r *http.Request) {
	web.JSON(w, http.StatusOK, o.book.of(r.PathValue("user")))
}

// payable answers 400 to an amount that is none. A real shop takes the price from
// the catalog, never from the customer.
func payable(w http.ResponseWriter, amount int) bool {
	if amount <= 0 {
		web.JSON(w, http.StatusBadRequest, map[string]string{"error": "amount must be above 0"})
	}
	return amount > 0
}

func fail(w http.ResponseWriter, err error) {
	log.Print(err)
	web.JSON(w, http.StatusBadGateway, map[string]string{"error": "the order could not be placed"})
}

// answer writes an order, or 404.
func answer(w http.ResponseWriter) func(Order, bool) {
	return func(order Order, found bool) {
		if !found {
			web.JSON(w, http.StatusNotFound, map[string]string{"error": "no such order"})
			return
		}
		web.JSON(w, http.StatusOK, order)
	}
}
