// Legacy is the program that nobody dares to touch: it asks nobody who they are,
// and it has two holes. They are here on purpose.
//
//   - GET /export?file=../customers.csv reads files outside of its folder.
//   - POST /admin/restock is for whoever finds it.
//
// Its sidecar lets through what the map says: /export with two names of files
// for merchants, and GET /stock/{product} for catalog. Never copy this program;
// copy its place in the map.
package main

import (
	"flag"
	"log"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"

	"sallyport.dev/examples/shop/internal/web"
)

func main() {
	listen := flag.String("listen", "unix:/run/sallyport/shop/legacy.sock", "where the sidecar finds this service")
	data := flag.String("data", "legacy-data", "folder for the files, which are made anew at each start")
	flag.Parse()
	ctx, stop := web.Context()
	defer stop()
	if err := fill(*data); err != nil {
		log.Fatal(err)
	}
	var stock atomic.Int64
	stock.Store(7)

	mux := http.NewServeMux()
	mux.HandleFunc("GET /export", func(w http.ResponseWriter, r *http.Request) {
		file := filepath.Join(*data, "exports", r.URL.Query().Get("file")) // the first hole: .. leads out
		text, err := os.ReadFile(file)                                     // #nosec G304 G703 -- the hole that the example is about
		if err != nil {
			http.Error(w, "no such export", http.StatusNotFound)
			return
		}
		w.Header().Set("Content-Type", "text/csv")
		_, _ = w.Write(text)
	})
	mux.HandleFunc("GET /stock/{product}", func(w http.ResponseWriter, _ *http.Request) {
		web.JSON(w, http.StatusOK, stock.Load())
	})
	mux.HandleFunc("POST /admin/restock", func(w http.ResponseWriter, r *http.Request) { // the second hole: who asks?
		n, err := strconv.Atoi(r.URL.Query().Get("to"))
		if err != nil {
			web.Fail(w, http.StatusBadRequest, "restock to what?")
			return
		}
		stock.Store(int64(n))
		web.JSON(w, http.StatusOK, n)
	})
	web.Serve(ctx, *listen, mux)
}

// fill makes what may be exported, and what may not.
func fill(dir string) error {
	if err := os.MkdirAll(filepath.Join(dir, "exports"), 0o700); err != nil {
		return err
	}
	for name, text := range map[string]string{
		"exports/prices.csv": "product,price\n1,1900\n2,2450\n3,3200\n",
		"exports/stock.csv":  "product,stock\n1,7\n2,7\n3,7\n",
		"customers.csv":      "customer,iban\nalice,DE02120300000000202051\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}
