package e2e

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
)

// call is one request of a test.
type call struct {
	listener string // default public
	host     string // default localhost
	method   string // default GET
	path     string
	bearer   string
	cookie   string // of __Host-session
	header   http.Header
	body     string
	json     bool // the body is JSON
	client   *http.Client
}

// answer is what came back, read to its end.
type answer struct {
	Status int
	Header http.Header
	Body   string
	ID     string // the correlation id that was sent
	Err    error  // of the transport or of reading the body
}

// problemOf is the reason in a problem document, "" when it is none.
func (a answer) reason() string {
	var doc struct{ Type string }
	if a.Header.Get("Content-Type") != "application/problem+json" || json.Unmarshal([]byte(a.Body), &doc) != nil {
		return ""
	}
	return strings.TrimPrefix(doc.Type, "urn:sallyport:reason:")
}

// request makes the request of a call, with a correlation id of its own.
func (z *zoned) request(c call) (*http.Request, string) {
	z.t.Helper()
	if c.listener == "" {
		c.listener = "public"
	}
	if c.host == "" {
		c.host = "localhost"
	}
	_, port, err := net.SplitHostPort(z.address[c.listener])
	if err != nil {
		z.t.Fatalf("listener %q: %v", c.listener, err)
	}
	req, err := http.NewRequest(c.method, "https://"+c.host+":"+port+c.path, strings.NewReader(c.body)) //nolint:noctx // the client has a timeout
	if err != nil {
		z.t.Fatal(err)
	}
	if c.body == "" {
		req.Body, req.ContentLength = http.NoBody, 0
	}
	id := uuid.NewString()
	req.Header.Set("X-Correlation-Id", id)
	if c.bearer != "" {
		req.Header.Set("Authorization", "Bearer "+c.bearer)
	}
	if c.cookie != "" {
		req.Header.Set("Cookie", "__Host-session="+c.cookie)
	}
	if c.json {
		req.Header.Set("Content-Type", "application/json")
	}
	for name, values := range c.header {
		req.Header[name] = values
	}
	return req, id
}

// try sends a request and reads the answer to its end.
func (z *zoned) try(c call) answer {
	z.t.Helper()
	req, id := z.request(c)
	client := c.client
	if client == nil {
		client = z.client()
	}
	res, err := client.Do(req)
	for tries := 0; err != nil && tries < 10 && strings.Contains(err.Error(), "client conn could not be established"); tries++ {
		// The door hung up before anything was sent: a machine this busy kept the
		// client for longer than it waits for a request.
		req, id = z.request(c)
		res, err = client.Do(req)
	}
	if err != nil {
		return answer{ID: id, Err: err}
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if z.pair != nil && strings.HasPrefix(c.path, "/auth/") && c.path != "/auth/login" && req.Method != http.MethodGet && res.StatusCode < http.StatusBadRequest {
		z.hear() // it may have ended sessions
	}
	return answer{Status: res.StatusCode, Header: res.Header, Body: string(body), ID: id, Err: err}
}

// ask is try, but for "not available" that was long in coming, which is asked again:
// a bound of the product's own may have passed (5 s for a look-up, 2 s for a dial or
// a place), which no map can widen. So is what a zone says that has not heard of its
// engines for a while. Where it is the answer, it is the answer each time.
func (z *zoned) ask(c call) (a answer) {
	z.t.Helper()
	for tries := 1; ; tries++ {
		began := time.Now()
		a = z.try(c)
		unheard := z.overEnginesToo() && a.reason() == "auth.unavailable" && tries < 50
		if !unheard && (tries == 4 || !outOfTime(a, time.Since(began))) {
			return a
		}
		if unheard {
			time.Sleep(100 * time.Millisecond)
		}
	}
}

// do is ask for requests that have to be answered whole.
func (z *zoned) do(c call) answer {
	z.t.Helper()
	a := z.ask(c)
	if a.Err != nil {
		z.t.Fatalf("%s %s: %v\n%s", c.method, c.path, a.Err, z.stderr)
	}
	return a
}

// overEnginesToo says whether the test knows nothing of the engines that it runs over.
func (z *zoned) overEnginesToo() bool {
	return isTwin(z.t) || strings.HasPrefix(z.t.Name(), overEngines+"/")
}

// outOfTime says whether a request that took so long was refused because a bound inside
// the product had passed.
func outOfTime(a answer, took time.Duration) bool {
	return took >= time.Second && slices.Contains(bounded, a.reason())
}

var bounded = []string{"auth.unavailable", "limit.busy", "limit.unavailable", "token.unavailable", "proof.unavailable", "inside.unavailable", "upstream.unreachable"}

// newID is a correlation id of its own.
func newID() string { return uuid.NewString() }

func portOf(address string) string {
	_, port, _ := net.SplitHostPort(address) // addresses of the tests have one
	return port
}

// readAll is the body of an answer as far as it comes.
func readAll(res *http.Response) string {
	b, _ := io.ReadAll(res.Body)
	return string(b)
}
