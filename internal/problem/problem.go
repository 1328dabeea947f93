// Package problem holds the two error types of Sallyport: the closed list of
// reasons, each with its status and public title, and the problem document
// (RFC 9457) that carries one to a client.
//
// It promises that a client never reads more than the reason's title, an
// optional public detail and its correlation id; causes stay in the error chain
// for the log.
package problem

import (
	"encoding/json"
	"errors"
	"net/http"
)

// ReasonHeader carries the reason of a refusal from a guard, a sidecar or a
// built-in handler to the gateway, which records it and removes it from the answer.
const ReasonHeader = "Sallyport-Reason"

// ContentType is the media type of a problem document (RFC 9457 section 3).
const ContentType = "application/problem+json"

// Error is an error with a reason. Public text and private cause are separate:
// Detail may be shown to the caller, Cause never.
type Error struct {
	Reason Reason
	Detail string // public; may be empty
	Cause  error  // private; may be nil
}

// New returns an error of the given reason with a private cause, which may be nil.
func New(r Reason, cause error) *Error { return &Error{Reason: r, Cause: cause} }

// WithDetail returns an error of the given reason with a public detail.
func WithDetail(r Reason, detail string) *Error { return &Error{Reason: r, Detail: detail} }

func (e *Error) Error() string {
	s := e.Reason.Code()
	if e.Detail != "" {
		s += ": " + e.Detail
	}
	if e.Cause != nil {
		s += ": " + e.Cause.Error()
	}
	return s
}

func (e *Error) Unwrap() error { return e.Cause }

// ReasonOf returns the reason of err: OK for nil, InternalError for an error that has none.
func ReasonOf(err error) Reason {
	if err == nil {
		return OK
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Reason
	}
	return InternalError
}

// Document is the body of a refusal (RFC 9457 section 3.1).
type Document struct {
	Type          string `json:"type"`  // urn:sallyport:reason:family.name
	Title         string `json:"title"` // the reason's title
	Status        int    `json:"status"`
	Detail        string `json:"detail,omitempty"`
	CorrelationID string `json:"correlation_id,omitempty"`
}

// Write answers with the problem document of a reason. It sets ReasonHeader for
// the gateway to record and strip. Headers set before (Allow, Retry-After,
// WWW-Authenticate) are kept.
func Write(w http.ResponseWriter, r Reason, detail, correlationID string) {
	body, err := json.Marshal(Document{
		Type:          "urn:sallyport:reason:" + r.Code(),
		Title:         r.Title(),
		Status:        r.Status(),
		Detail:        detail,
		CorrelationID: correlationID,
	})
	if err != nil { // strings and an int always marshal
		body = []byte("{}")
	}
	h := w.Header()
	h.Set("Content-Type", ContentType)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set(ReasonHeader, r.Code())
	h.Del("Content-Length")
	w.WriteHeader(r.Status())
	_, _ = w.Write(body) // the client may be gone; the record says so elsewhere
}

// WriteError answers with the reason and public detail of err.
func WriteError(w http.ResponseWriter, err error, correlationID string) {
	detail := ""
	if e, ok := errors.AsType[*Error](err); ok {
		detail = e.Detail
	}
	Write(w, ReasonOf(err), detail, correlationID)
}
