package guard

import (
	"context"
	"crypto"
	"errors"
	"net/http"
	"net/http/httptrace"
	"time"

	"sallyport.dev/internal/httpsig"
	"sallyport.dev/internal/svid"
)

// proofKey finds what a call's proof has to be, in the call's context.
type proofKey struct{}

func withProof(ctx context.Context, p httpsig.Profile) context.Context {
	return context.WithValue(ctx, proofKey{}, p)
}

// send sends a call with its proof. The proof is made when net/http has chosen
// the connection and before it writes to it; when it tries again, over another
// connection, this happens again. A request for which no proof can be made is
// cancelled, before HTTP/2 writes it; of HTTP/1.1 the connection is closed, so that
// nothing goes out over it.
func (gen *generation) send(r *http.Request, clock func() time.Time) (*http.Response, error) {
	p, _ := r.Context().Value(proofKey{}).(httpsig.Profile) // none: nothing satisfies it
	if p.Demand == httpsig.Channel {
		return gen.transport.RoundTrip(r)
	}
	var failed error // of the last attempt; attempts follow each other
	var out *http.Request
	ctx, cancel := context.WithCancel(r.Context()) // its end is that of the call: see transport
	trace := &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
		if failed = gen.prove(out, info, p, clock()); failed != nil {
			cancel()
			if _, alone := info.Conn.(*provenConn); alone {
				_ = info.Conn.Close()
			}
		}
	}}
	out = r.WithContext(httptrace.WithClientTrace(ctx, trace))
	res, err := gen.transport.RoundTrip(out)
	if err != nil && failed != nil {
		err = errors.Join(failed, err)
	}
	return res, err
}

// prove puts the proof into the header that net/http is about to write.
func (gen *generation) prove(r *http.Request, info httptrace.GotConnInfo, p httpsig.Profile, now time.Time) error {
	m, err := httpsig.FromOutgoing(r)
	if err != nil {
		return err
	}
	if p.Demand == httpsig.Signature {
		return gen.signer.Set(r.Header, &m, p, now)
	}
	mac := gen.macOf(info.Conn)
	if mac == nil {
		return errors.New("guard: a connection that the guard did not make")
	}
	return mac.Set(r.Header, &m, p, now)
}

// signerOf returns the private key of an identity.
func signerOf(own *svid.Identity) crypto.Signer {
	key, _ := own.Certificate.PrivateKey.(crypto.Signer) // NewIdentity took one
	return key
}
