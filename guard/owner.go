package guard

import (
	"context"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"strconv"
	"strings"

	"sallyport.dev/internal/problem"
)

// serveOwnResponse runs the handler and lets its answer go when the object in
// it is the principal's (`owner: response:/pointer`).
func (p *protected) serveOwnResponse(w http.ResponseWriter, r *http.Request, in *inbound, ru *rule) {
	head := r.Method == http.MethodHead
	r.Method = http.MethodGet // of HEAD there is nothing to judge by; r and its header are the guard's own copies
	remove(r.Header, conditional())
	h := newHold(w, ru.hold, nil)
	p.next.ServeHTTP(h, r)
	if err := judge(h, ru.pointer, &in.principal); err != nil {
		p.refuse(w, r, in, problem.New(problem.OwnerDenied, err))
		return
	}
	h.sent.Set("Content-Length", strconv.Itoa(len(h.body)))
	if h.sent.Get("Content-Type") == "" {
		h.sent.Set("Content-Type", "application/json") // which it proved to be
	}
	h.release(!head)
}

// serveOwnRead asks the handler for the object before it lets the write through
// (`owner: read:/pointer`). The read is the request itself with GET in place of
// its method, query and headers included, since these may choose the object;
// what belongs to the body of the write is left out.
func (p *protected) serveOwnRead(w http.ResponseWriter, r *http.Request, in *inbound, ru *rule) {
	if i := strings.IndexAny(r.Pattern, " \t"); i >= 0 && r.Pattern[:i] != http.MethodGet { // the blanks of ServeMux
		// A mux outside of Protect chose next for this method alone: a GET would run the write.
		p.refuse(w, r, in, problem.New(problem.OwnerUnchecked, fmt.Errorf("guard.Protect wraps the handler of %q, not the whole mux", r.Pattern)))
		return
	}
	if err := p.read(r, in, ru); err != nil {
		p.refuse(w, r, in, problem.New(problem.OwnerDenied, fmt.Errorf("read before the write: %w", err)))
		return
	}
	p.next.ServeHTTP(w, r)
}

// read returns nil when the handler's answer to a GET of the same path has the
// principal as the owner.
func (p *protected) read(r *http.Request, in *inbound, ru *rule) error {
	own := *in
	own.reading = true
	ctx, cancel := context.WithCancel(withInbound(r.Context(), &own))
	defer cancel()
	read := r.WithContext(ctx)
	read.Method, read.Body, read.GetBody, read.ContentLength = http.MethodGet, http.NoBody, nil, 0
	read.TransferEncoding, read.Trailer = nil, nil
	read.Form, read.PostForm, read.MultipartForm = nil, nil, nil
	read.Header = r.Header.Clone()
	remove(read.Header, conditional())
	remove(read.Header, describing())
	read.Header.Set("Accept", "application/json")
	h := newHold(nowhere{make(http.Header)}, ru.hold, nil)
	p.next.ServeHTTP(h, read)
	return judge(h, ru.pointer, &in.principal)
}

// serveOwnCode runs the handler and lets its answer go once it has called Owns
// (`owner: code`).
func (p *protected) serveOwnCode(w http.ResponseWriter, r *http.Request, in *inbound, ru *rule) {
	h := newHold(w, ru.hold, in.ownership)
	p.next.ServeHTTP(h, r)
	switch said := in.ownership.said.Load(); {
	case said == denied && h.released:
		// Part of the answer is out already: the client must not take it for whole.
		panic(http.ErrAbortHandler)
	case said == denied:
		p.refuse(w, r, in, problem.New(problem.OwnerDenied, errors.New("the handler said so")))
	case said != owned:
		p.refuse(w, r, in, problem.New(problem.OwnerUnchecked, errors.New("the handler did not call guard.Owns")))
	case h.full:
		p.refuse(w, r, in, problem.New(problem.OwnerUnchecked, errors.New("the handler called guard.Owns after "+strconv.Itoa(ru.hold)+" bytes")))
	default:
		h.release(true)
	}
}

// judge returns nil when a held answer is whole, is JSON, and has the principal
// as the owner at the pointer; else why not.
func judge(h *hold, p pointer, principal *Principal) error {
	switch {
	case h.full:
		return errHeldFull
	case h.status < 200 || h.status > 299 || h.status == http.StatusPartialContent:
		return fmt.Errorf("the handler answered %d", h.status)
	case h.sent.Get("Content-Encoding") != "" && h.sent.Get("Content-Encoding") != "identity":
		return errors.New("the answer is coded: " + h.sent.Get("Content-Encoding"))
	case !isJSON(h.sent.Get("Content-Type")):
		return errors.New("the answer is not JSON but " + h.sent.Get("Content-Type"))
	}
	owner, err := valueAt(h.body, p)
	if err != nil {
		return err
	}
	if !principal.owns(owner) {
		return errors.New("the object is another's")
	}
	return nil
}

// isJSON takes application/json, the structured suffix +json (RFC 6839 section
// 3.1), and an answer without a type, whose body decides.
func isJSON(contentType string) bool {
	if contentType == "" {
		return true
	}
	t, _, err := mime.ParseMediaType(contentType)
	return err == nil && (t == "application/json" || strings.HasPrefix(t, "application/") && strings.HasSuffix(t, "+json"))
}
