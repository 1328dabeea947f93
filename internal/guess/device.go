package guess

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"strconv"
	"strings"
	"time"
)

// deviceLife is how long a device stays known after its last login.
const deviceLife = 180 * 24 * time.Hour

// deviceBytes are random in the name of a device.
const deviceBytes = 15

// NewDevice names the device on which the owner of an account has just logged in:
// what its cookie holds, signed and bound to the account. before is what the
// cookie held: a device keeps its name, so that a copied cookie gets no budget of
// its own by logging in again.
func (g *Guesses) NewDevice(account, before string) (cookie string, life time.Duration) {
	id, ok := g.device(account, before)
	if !ok {
		random := make([]byte, deviceBytes)
		_, _ = rand.Read(random) // crypto/rand.Read never fails (Go 1.24)
		id = base64.RawURLEncoding.EncodeToString(random)
	}
	ends := strconv.FormatInt(g.clock().Add(deviceLife).Unix(), 10)
	return id + "." + ends + "." + g.sign(account, id, ends), deviceLife
}

// KnownDevice says whether a cookie is of a device of the account.
func (g *Guesses) KnownDevice(account, cookie string) bool {
	_, ok := g.device(account, cookie)
	return ok
}

// device returns the name of a device whose cookie is signed for the account and
// has not ended.
func (g *Guesses) device(account, cookie string) (id string, ok bool) {
	part := strings.Split(cookie, ".")
	if len(cookie) > 200 || len(part) != 3 || len(part[0]) != base64.RawURLEncoding.EncodedLen(deviceBytes) {
		return "", false
	}
	if !hmac.Equal([]byte(part[2]), []byte(g.sign(account, part[0], part[1]))) {
		return "", false
	}
	ends, err := strconv.ParseInt(part[1], 10, 64)
	if err != nil || g.clock().Unix() >= ends {
		return "", false
	}
	return part[0], true
}

func (g *Guesses) sign(account, id, ends string) string {
	mac := hmac.New(sha256.New, g.secret)
	mac.Write([]byte("device\x00" + id + "\x00" + ends + "\x00" + account))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}
