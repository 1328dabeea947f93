package control

import (
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"

	"sallyport.dev/internal/problem"
)

// fault is a refusal of OAuth (RFC 6749 section 5.2), in fixed words: what was
// sent holds a credential, and is never told again.
type fault struct {
	code, text string
	status     int            // 0: 400
	reason     problem.Reason // of the record
	cause      error          // of the log
}

func (f *fault) Error() string { return f.code + ": " + f.text }

func (f *fault) Unwrap() error { return f.cause }

func invalid(text string) *fault {
	return &fault{code: "invalid_request", text: text, reason: problem.OAuthRequest}
}

// faultOf says an error in the words of OAuth. Those that are none are of parts
// which do not answer, or of a bound.
func faultOf(err error) *fault {
	if f, ok := errors.AsType[*fault](err); ok {
		if f.status == 0 {
			f.status = http.StatusBadRequest
		}
		return f
	}
	reason := problem.ReasonOf(err)
	f := &fault{code: "temporarily_unavailable", text: "try again later", status: reason.Status(), reason: reason, cause: err}
	if f.status != http.StatusTooManyRequests && f.status < http.StatusInternalServerError {
		f.status = http.StatusServiceUnavailable
	}
	return f
}

// refuseExchange answers with a fault; its cause goes to the log.
func (c *Control) refuseExchange(w http.ResponseWriter, r *http.Request, f *fault) {
	if f.cause != nil {
		c.Log.WarnContext(r.Context(), "control: exchange refused", "client", r.RemoteAddr, "reason", f.reason.Code(), "cause", f.cause)
	}
	h := w.Header()
	if f.status >= http.StatusInternalServerError {
		h.Set("Retry-After", "1")
	}
	h.Set(problem.ReasonHeader, f.reason.Code())
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(f.status)
	_ = json.NewEncoder(w).Encode(struct { // the peer may be gone
		Code string `json:"error"`
		Text string `json:"error_description"`
	}{f.code, f.text})
}

// readForm reads the parameters of a token request: from the body alone, each
// once (RFC 6749 section 3.2). Those without a value are as if they were not there.
func readForm(r *http.Request) (url.Values, error) {
	if r.URL.RawQuery != "" || r.URL.ForceQuery {
		return nil, invalid("parameters stand in the body, not in the address")
	}
	types := r.Header.Values("Content-Type")
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || len(types) != 1 || kind != "application/x-www-form-urlencoded" {
		f := invalid("the body must be application/x-www-form-urlencoded")
		f.status = http.StatusUnsupportedMediaType
		return nil, f
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	if _, large := errors.AsType[*http.MaxBytesError](err); large || len(body) > maxBody {
		f := invalid("the body is too large")
		f.status = http.StatusRequestEntityTooLarge
		return nil, f
	}
	if err != nil {
		return nil, invalid("the body cannot be read")
	}
	form, err := url.ParseQuery(string(body))
	if err != nil { // its text would hold a part of the body
		return nil, invalid("the parameters are malformed")
	}
	for name, values := range form {
		if len(values) != 1 {
			return nil, invalid("a parameter is there twice")
		}
		if values[0] == "" {
			delete(form, name)
		}
	}
	return form, nil
}
