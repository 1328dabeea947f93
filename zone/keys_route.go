package zone

import (
	"regexp"
	"strings"
	"time"
)

// routeType is a route: who may use it and how. The short form is `allow` alone.
func routeType() typ[Route] {
	long := object("route", "who may use it, and how",
		key("allow", allowType(), func(rt *Route) *Allow { return &rt.Allow },
			"the kinds of callers, any of which suffices: `anonymous`, `user` (a session or an OAuth user), `key` (API key), `client` (OAuth client credentials), `service` (inside only)").must(),
		key("roles", oneOrList(role()), func(rt *Route) *[]string { return &rt.Roles }, "any of them suffices"),
		key("scopes", oneOrList(scope()), func(rt *Route) *[]string { return &rt.Scopes },
			"all are needed of an OAuth token or API key; they never limit sessions. A token or key on a route without `scopes` is refused"),
		key("mfa", boolean(), func(rt *Route) *bool { return &rt.MFA }, "a second factor is needed: 401 `auth.step_up`").is("false"),
		key("max_age", duration(), func(rt *Route) *time.Duration { return &rt.MaxAge }, "the login may be no older: 401 `auth.step_up`"),
		key("owner", ownerType(), func(rt *Route) *Owner { return &rt.Owner },
			"only the owner of the object passes, compared as a string with `sub`; others get 404 `owner.denied`. "+
				"`path:NAME`: a wildcard of the path. `response:/POINTER`: of the JSON answer (GET). `read:/POINTER`: of the answer to GET of the same path, asked first (writes). "+
				"`code`: the handler calls guard.Owns (`embedded`)"),
		key("limit", rate(), func(rt *Route) *Rate { return &rt.Limit }, "requests per principal, else per client address"),
		key("listener", name(), func(rt *Route) *string { return &rt.Listener }, "the only listener on which the route exists").is("public"),
		key("proof", oneOf("proof", proofWords()), func(rt *Route) *Proof { return &rt.Proof }, "how a forwarded request proves itself").says("the service's"),
		key("once", boolean(), func(rt *Route) *bool { return &rt.Once }, "a replay is refused across replicas; fails closed").is("false").
			laterIf(isTrue, RefusesRoute, notYet("replay protection")),
		key("stream", oneOf("stream", streamWords()), func(rt *Route) *Stream { return &rt.Stream }, "what passes is not bounded by time, but ends with its credential and after the listener's `idle` of silence. `sse`: an answer of text/event-stream. "+
			"`websocket` (GET): the opening handshake over HTTP/1.1, and nothing else. `grpc` (POST): calls over HTTP/2, which the service must speak too. Without it Upgrade is removed"),
		key("params", paramsType(), func(rt *Route) *[]Param { return &rt.Params }, "types of path and query values; others are refused"),
		key("upload", uploadType(), func(rt *Route) **Upload { return &rt.Upload }, "what may be uploaded; it is scanned").
			later(RefusesRoute, notYet("scanning of uploads")),
		key("cors", corsType(), func(rt *Route) **CORS { return &rt.CORS }, "what pages of other origins may do").says("nothing"),
		key("paths", oneOf("paths", []word[bool]{{"encoded-slash", true}}), func(rt *Route) *bool { return &rt.EncodedSlash }, "permits `%2F` in the path, passed as it came"),
		key("signed", boolean(), func(rt *Route) *bool { return &rt.Signed }, "the caller must sign the request (RFC 9421) with a signing key of its API key; needs `allow: key`").is("false"),
	)
	return short(long, allowType(), func(rt *Route, a Allow) { rt.Allow = a })
}

func isTrue(b bool) bool { return b }

func notYet(what string) string {
	return what + " is not there yet: the route answers 503 zone.not_enforced"
}

func allowType() typ[Allow] {
	of := oneOrList(oneOf("kind of caller", allowWords()))
	t := typ[Allow]{form: of.form}
	t.read = func(r *reader, w written) (all Allow, ok bool) {
		list, ok := of.read(r, w)
		for _, a := range list {
			all |= a
		}
		return all, ok && all != 0
	}
	return t
}

func role() typ[string] {
	return matching("role", "letters, digits and . _ : -", `^[A-Za-z0-9][A-Za-z0-9._:-]*$`, maxRight)
}

// scope is a scope token of OAuth (RFC 6749 section 3.3), kept to what is easily read.
func scope() typ[string] {
	return matching("scope", "letters, digits and . _ : / -", `^[A-Za-z0-9][A-Za-z0-9._:/-]*$`, maxRight)
}

// maxRight bounds the names of roles and scopes, in characters.
const maxRight = 100

// ValidRole says whether a map can name a role: who gives one to a user asks it.
func ValidRole(s string) bool { return validRight(s, "._:-") }

// ValidScope says whether a map can name a scope.
func ValidScope(s string) bool { return validRight(s, "._:/-") }

func validRight(s, also string) bool {
	if s == "" || len(s) > maxRight || strings.IndexByte(also, s[0]) >= 0 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && strings.IndexByte(also, c) < 0 {
			return false
		}
	}
	return true
}

func ownerType() typ[Owner] {
	const doc = "path:NAME, response:/POINTER, read:/POINTER or code"
	return scalar("owner", doc, `^(code|path:[A-Za-z_][A-Za-z0-9_]*|(response|read):/.*)$`, func(s string) (Owner, error) {
		kind, arg, _ := strings.Cut(s, ":")
		switch kind {
		case "code":
			if s == "code" {
				return Owner{Kind: OwnerCode}, nil
			}
		case "path":
			if arg != "" {
				return Owner{OwnerPath, arg}, nil
			}
		case "response", "read":
			if !pointer.MatchString(arg) || len(arg) > 200 {
				return Owner{}, wrong("write a JSON pointer (RFC 6901), such as "+kind+":/customer", "%s is no JSON pointer", quote(arg))
			}
			if kind == "read" {
				return Owner{OwnerRead, arg}, nil
			}
			return Owner{OwnerResponse, arg}, nil
		}
		return Owner{}, errNo
	})
}

var pointer = regexp.MustCompile(`^(/([^~/\x00-\x1f\x7f]|~[01])+)+$`)

func uploadType() typ[*Upload] {
	media := matching("media type", "TYPE/SUBTYPE in lower case, such as application/pdf or image/*", `^[a-z]+/([a-z0-9][a-z0-9.+-]*|\*)$`, 100)
	return optional(object("upload", "{types: [...], size: SIZE}",
		key("types", oneOrList(media), func(u *Upload) *[]string { return &u.Types }, "the media types that are taken").must(),
		key("size", size(), func(u *Upload) *int64 { return &u.Size }, "the largest upload").must(),
	))
}

func corsType() typ[*CORS] {
	of := origin("origin", "an origin such as https://app.example, or *")
	any := scalar("cors origin", of.doc, `^(\*|https?://[^/@?#]+)$`, func(s string) (string, error) {
		if s == "*" {
			return s, nil
		}
		return of.parse(s)
	})
	header := matching("header name", "letters, digits and hyphens", `^[A-Za-z0-9-]+$`, 100)
	return optional(object("cors", "{origins: [...], headers: [...]}",
		key("origins", oneOrList(any), func(c *CORS) *[]string { return &c.Origins }, "the origins whose pages may read the answer; * on anonymous routes only").must(),
		key("headers", oneOrList(header), func(c *CORS) *[]string { return &c.Headers }, "request headers they may set beyond the safelisted ones"),
	))
}
