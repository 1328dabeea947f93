package e2e

import (
	"encoding/json"
	"net/http"
)

// account is a user of the zone.
type account struct {
	ID       string
	Email    string
	Password string
}

// passphrase is a password of the tests; each user has one of its own.
func passphrase(name string) string { return "a long passphrase of " + name }

// addUser makes a user by the command line.
func (z *zoned) addUser(email string, roles ...string) account {
	z.t.Helper()
	a := account{Email: email, Password: passphrase(email)}
	args := []string{"user", "add", email, "--format", "json", "--password-file", z.write("password-"+email, a.Password+"\n")}
	for _, r := range roles {
		args = append(args, "--role", r)
	}
	if err := json.Unmarshal([]byte(z.must(args...)), &a); err != nil || a.ID == "" {
		z.t.Fatalf("user add: %v", err)
	}
	return a
}

// apiKey is a key of the zone.
type apiKey struct{ ID, Key string }

// createKey makes an API key by the command line.
func (z *zoned) createKey(name string, args ...string) (k apiKey) {
	z.t.Helper()
	out := z.must(append([]string{"key", "create", name, "--format", "json"}, args...)...)
	if err := json.Unmarshal([]byte(out), &k); err != nil || k.Key == "" {
		z.t.Fatalf("key create: %v: %s", err, out)
	}
	return k
}

// login logs in by JSON and returns the token.
func (z *zoned) login(a account) string {
	z.t.Helper()
	return z.loginWith(z.client(), a)
}

func (z *zoned) loginWith(client *http.Client, a account) string {
	z.t.Helper()
	body, err := json.Marshal(map[string]string{"email": a.Email, "password": a.Password})
	if err != nil {
		z.t.Fatal(err)
	}
	got := z.do(call{method: "POST", path: "/auth/login", json: true, body: string(body), client: client})
	var doc struct{ Token string }
	if err := json.Unmarshal([]byte(got.Body), &doc); err != nil || got.Status != 200 || doc.Token == "" {
		z.t.Fatalf("login of %s: %d %s", a.Email, got.Status, got.Body)
	}
	return doc.Token
}
