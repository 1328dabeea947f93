// Package page is the HTTP face of the account service: it reads the bodies of
// requests, and answers with pages to people and JSON to programs on the same
// paths. The structs of views.go are all pages there are.
//
// It promises:
//
//   - strict bodies: unknown, repeated, missing and mistyped fields are refused,
//     and so is whatever follows them; every body has a bound.
//   - pages that cannot be led astray: everything is escaped, no inline script or
//     style, nothing of another origin, no frame around them, and a content policy
//     (CSP Level 3, Trusted Types) that has the browser hold to it.
//   - pages for everybody: they work without script (passkeys aside), by keyboard
//     and by ear, on a phone, in light and dark, in the language of the account or
//     of the browser. Every text is in messages/LANG.json.
//   - a refusal in words: a page for a person, a problem document (RFC 9457) for a
//     program, with the same status and reason.
//
// It refuses requests from other sites, to redirect anywhere but to a local path
// (LocalPath), and a theme that is broken: at start, by file and reason.
package page
