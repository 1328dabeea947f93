package zone

import "regexp"

var envName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// secret is a value that stands outside the map. What stands in its place is
// never printed.
func secret() typ[Secret] {
	env := scalar("variable", "the name of an environment variable, such as SMTP_URL", envName.String(), func(s string) (string, error) {
		if len(s) > 100 || !envName.MatchString(s) {
			return "", wrong("write the name of the variable; if this is the secret itself, change the secret", "this is no name of an environment variable")
		}
		return s, nil
	})
	of := oneKey(object("secret", "{file: PATH} or {env: NAME}",
		key("file", filePath(), func(s *Secret) *string { return &s.File }, "the file that holds it, relative to the folder of the map"),
		key("env", env, func(s *Secret) *string { return &s.Env }, "the environment variable that holds it"),
	))
	t := of
	t.leaf = true
	t.read = func(r *reader, w written) (Secret, bool) {
		if isScalar(w) {
			r.failf(w, "put it in a file and write {file: PATH}, or {env: NAME}; change the secret, for it was readable here",
				"%s: a secret stands in the map in clear", nameOf(w.path))
			return Secret{}, false
		}
		if isMapping(w) && !r.secretKeys(w) {
			return Secret{}, false
		}
		return of.read(r, w)
	}
	return t
}

// secretKeys refuses other keys than those of a secret and does not print them:
// who forgets the key writes {the secret itself}.
func (r *reader) secretKeys(w written) bool {
	entries, ok := r.mapping(w, "{file: PATH} or {env: NAME}")
	for _, e := range entries {
		if e.name != "file" && e.name != "env" {
			r.fail(e.value.key, nameOf(w.path)+": a secret has no such key", "write {file: PATH} or {env: NAME}; if the key is the secret itself, change the secret")
			ok = false
		}
	}
	return ok
}
