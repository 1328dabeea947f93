package page

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
)

// Asset is a file that pages load. Its handler takes GET and HEAD of anybody.
type Asset struct {
	Path    string
	Handler http.Handler
}

type asset struct {
	name, path, kind string
	content          []byte
	address          string // with the hash of its content: a new file is a new address
}

func newAssets(files themeFiles) ([]asset, error) {
	list := []asset{
		{name: "style.css", kind: "text/css; charset=utf-8"},
		{name: "icon.svg", kind: "image/svg+xml"},
		{name: "form.js", kind: "text/javascript; charset=utf-8"},
		{name: "passkey.js", kind: "text/javascript; charset=utf-8"},
	}
	for i := range list {
		a := &list[i]
		var err error
		if a.content, err = web.ReadFile("web/" + a.name); err != nil {
			return nil, err
		}
		switch {
		case a.name == "style.css":
			if files.style != nil {
				a.content = files.style
			}
			a.content = bytes.Join([][]byte{a.content, files.added}, []byte("\n"))
		case a.name == "icon.svg" && files.icon != nil:
			a.content = files.icon
		}
		sum := sha256.Sum256(a.content)
		a.path = "/auth/" + a.name
		a.address = a.path + "?v=" + hex.EncodeToString(sum[:8])
	}
	return list, nil
}

// Assets are the files that pages load, for the routes of the account service.
func (p *Pages) Assets() []Asset {
	list := make([]Asset, 0, len(p.assets))
	for _, a := range p.assets {
		list = append(list, Asset{Path: a.path, Handler: a})
	}
	return list
}

// address is where pages find a file.
func (p *Pages) address(name string) string {
	for i := range p.assets {
		if p.assets[i].name == name {
			return p.assets[i].address
		}
	}
	return ""
}

// ServeHTTP answers with the file. Under the address that names its hash it never
// changes; under any other it is asked for again. An icon opened by itself runs
// nothing.
func (a asset) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", a.kind)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; sandbox")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-cache")
	if r.URL.RequestURI() == a.address {
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	_, _ = w.Write(a.content) // the client may be gone; the record says so elsewhere
}
