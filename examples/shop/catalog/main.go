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
	c := &catalog{products: []Product{{1, "Lantern", 1900}, {2, "Rope, 20 m", 2450}, {3, "Compass", 3200}}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /products", c.list)
	mux.HandleFunc("GET /products/{id}", c.get)
	mux.HandleFunc("PUT /products/{id}", c.put)
	web.Serve(ctx, *listen, g.Protect(mux)) // the one line
}

func (c *catalog) list(w http.ResponseWriter, _ *http.Request) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	web.JSON(w, http.StatusOK, c.products)
}

func (c *catalog) get(w http.ResponseWriter, r *http.Request) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	id, err := strconv.Atoi(r.PathValue("id"))
	if err != nil || id < 1 || id > len(c.products) {
		web.JSON(w, http.StatusNotFound, map[string]string{"error": "no such product"})
		return
	}
	web.JSON(w, http.StatusOK, c.products[id-1])
}

func (c *catalog) put(w http.ResponseWriter, r *http.Request) {
	var change struct {
		Name  string `json:"name"`
		Price int    `json:"price"`
	}
	if !web.Decode(w, r, &change) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	id, err := strconv.Atoi(r.PathValue("id"))
	if err != nil || id < 1 || id > len(c.products) {
		web.JSON(w, http.StatusNotFound, map[string]string{"error": "no such product"})
		return
	}
	c.products[id-1] = Product{ID: id, Name: change.Name, Price: change.Price}
	web.JSON(w, http.StatusOK, c.products[id-1])
}
