package sidecar

import (
	"io"
	"net/http"
	"strings"
)

// isGRPC says whether the service makes a call of gRPC (gRPC over HTTP2, "Requests").
func isGRPC(r *http.Request) bool {
	rest, ok := strings.CutPrefix(r.Header.Get("Content-Type"), "application/grpc")
	return r.ProtoMajor == 2 && r.Method == http.MethodPost && ok && (rest == "" || rest[0] == '+' || rest[0] == ';')
}

// forwardCall makes a call of gRPC by guard.Client and gives its answer, each while
// it comes.
func (o *outbound) forwardCall(w http.ResponseWriter, r *http.Request, c *call) {
	out := r.WithContext(c.ctx)
	u := *r.URL
	u.Scheme, u.Host = "http", c.callee
	out.URL, out.Host, out.RequestURI = &u, "", ""
	out.Header = r.Header.Clone()
	keep(out.Header, leavesService)
	out.Trailer = nil
	out.Body = &upload{r.Body, &c.upload}
	res, err := o.cfg.Guard.Client().Do(out)
	if err != nil {
		o.refuse(w, r.WithContext(c.ctx), c.blame(err))
		return
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode < 200 {
		o.refuse(w, r.WithContext(c.ctx), c.blame(errStatus))
		return
	}
	outward(w.Header(), res.Header)
	w.WriteHeader(res.StatusCode)
	to := http.NewResponseController(w)
	if res.ContentLength != 0 { // see forwardGRPC
		_ = to.Flush()
	}
	buf := piecePool.Get().(*[pieceSize]byte)
	defer piecePool.Put(buf)
	for {
		n, err := res.Body.Read(buf[:])
		if n > 0 {
			if _, werr := w.Write(buf[:n]); werr != nil {
				return
			}
			_ = to.Flush() // what cannot be sent fails the next Write
		}
		switch {
		case err == io.EOF:
			trailers(w.Header(), res.Trailer)
			return
		case err != nil:
			panic(http.ErrAbortHandler)
		}
	}
}
