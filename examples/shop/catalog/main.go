// Catalog is the shop's window: anyone may read it, merchants may change it.
//
// Nothing here checks who calls. The map says it (examples/shop/zone.yaml), the
// guard enforces it, and the handlers are left with their own work.
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

// Product is one thing for sale. Price is in cents.
type Product struct {
	ID    int    `json:"id"`
	Name  string `json:"name"`
	Price int    `json:"price"`
}

// catalog keeps its products in memory.
type catalog struct {
	client *http.Client // speaks to declared calls only

	mu       sync.RWMutex
	products []Product // guarded by mu; the index is ID-1
}

func main() {
	listen := flag.String("listen", "127.0.0.1:9001", "address to serve on")
	flag.Parse()
	ctx, stop := web.Context()
	defer stop()

	g, err := guard.New(ctx, guard.Config{Service: "catalog"})
	if err != nil {
		log.Fatal(err)
	}
	c := &catalog{client: g.Client(), products: []Product{{1, "Lantern", 1900}, {2, "Rope, 20 m", 2450}, {3, "Compass", 3200}}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /products", c.list)
	mux.HandleFunc("GET /products/{id}", c.get)
	mux.HandleFunc("PUT /products/{id}", c.put)
	if err := g.ListenAndServe(ctx, *listen, mux); err != nil { // the one line: the whole inner door
		log.Fatal(err)
	}
}

func (c *catalog) list(w http.ResponseWriter, _ *http.Request) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	web.JSON(w, http.StatusOK, c.products)
}

// get adds what two other services know. Its visitors are nobody, so the map
// declares both calls `as: service`: catalog makes them in its own name. What
// cannot be had is left out.
func (c *catalog) get(w http.ResponseWriter, r *http.Request) {
	product, found := c.find(r.PathValue("id"))
	if !found {
		web.Fail(w, http.StatusNotFound, "no such product")
		return
	}
	answer := struct {
		Product
		Sold  *int `json:"sold,omitempty"`
		Stock *int `json:"stock,omitempty"`
	}{Product: product}
	id := strconv.Itoa(product.ID)
	var sales map[string]int
	if err := web.Call(r.Context(), c.client, http.MethodPost, "http://orders/sales", nil, []int{product.ID}, &sales); err != nil {
		log.Print(err)
	} else if sold, there := sales[id]; there {
		answer.Sold = &sold
	}
	if err := web.Call(r.Context(), c.client, http.MethodGet, "http://legacy/stock/"+id, nil, nil, &answer.Stock); err != nil {
		log.Print(err)
	}
	web.JSON(w, http.StatusOK, answer)
}

func (c *catalog) put(w http.ResponseWriter, r *http.Request) {
	var change struct {
		Name  string `json:"name"`
		Price int    `json:"price"`
	}
	if !web.Decode(w, r, &change) {
		return
	}
	product, found := c.find(r.PathValue("id"))
	if !found {
		web.Fail(w, http.StatusNotFound, "no such product")
		return
	}
	product.Name, product.Price = change.Name, change.Price
	c.mu.Lock()
	defer c.mu.Unlock()
	c.products[product.ID-1] = product
	web.JSON(w, http.StatusOK, product)
}

func (c *catalog) find(text string) (Product, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	id, err := strconv.Atoi(text)
	if err != nil || id < 1 || id > len(c.products) {
		return Product{}, false
	}
	return c.products[id-1], true
}
