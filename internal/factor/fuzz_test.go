package factor_test

import (
	"context"
	"encoding/base64"
	"testing"

	va "github.com/descope/virtualwebauthn"

	"sallyport.dev/internal/problem"
	"sallyport.dev/internal/store"
)

// Whatever a browser answers: a refusal with a reason of ours, and nothing is
// stored, unless it is the honest answer.

func FuzzFinishLogin(f *testing.F) {
	w := newWorld(f)
	d := newDevice()
	w.enroll(alice, d)
	challenge, session := w.beginLogin()
	f.Add([]byte(d.answer(challenge)))
	f.Add([]byte(d.craft(clientData(challenge, map[string]any{"tokenBinding": map[string]any{"status": "present"}}), nil)))
	f.Add([]byte(`{"id":"YQ","rawId":"YQ","type":"public-key","response":{"clientDataJSON":"e30","authenticatorData":"","signature":"","userHandle":null}}`))
	f.Add([]byte(`{"id":"` + base64.RawURLEncoding.EncodeToString(d.cred.ID) + `"}`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, response []byte) {
		w.t = t // one at a time
		_, err := w.finishLogin(session, string(response))
		wantRefusal(t, err, response)
	})
}

func FuzzFinishRegistration(f *testing.F) {
	w := newWorld(f)
	d := newDevice()
	options, session := w.begin(alice)
	honest := va.CreateAttestationResponse(d.site, d.auth, d.cred, *options)
	f.Add([]byte(honest))
	f.Add([]byte(withoutAttestation(honest)))
	for _, authData := range [][]byte{nil, make([]byte, 37), {0xff}} {
		f.Add([]byte(reattest(honest, func(all []byte) []byte {
			return append(append([]byte("\xa3\x63fmt\x64none\x67attStmt\xa0\x68authData\x40"), authData...), all...)
		})))
	}
	f.Add([]byte(`{"id":"YQ","rawId":"YQ","type":"public-key","response":{"clientDataJSON":"e30","attestationObject":"oA","transports":["usb"]}}`))
	f.Fuzz(func(t *testing.T, response []byte) {
		w.t = t // one at a time
		_, err := w.register(alice, session, string(response), "x")
		wantRefusal(t, err, response)
	})
}

// FuzzAttestation mutates what lies under two layers of base64, where a mutation
// of the answer as a whole seldom comes.
func FuzzAttestation(f *testing.F) {
	w := newWorld(f)
	d := newDevice()
	options, session := w.begin(alice)
	honest := va.CreateAttestationResponse(d.site, d.auth, d.cred, *options)
	for _, form := range []string{honest, withoutAttestation(honest)} {
		_ = reattest(form, func(authData []byte) []byte { f.Add(authData); return nil })
	}
	f.Fuzz(func(t *testing.T, authData []byte) {
		w.t = t // one at a time
		if len(authData) > 1<<15 {
			return
		}
		header := []byte("\xa3\x63fmt\x64none\x67attStmt\xa0\x68authData\x59")
		response := reattest(honest, func([]byte) []byte {
			return append(append(header, byte(len(authData)>>8), byte(len(authData))), authData...)
		})
		_, err := w.register(alice, session, response, "x")
		wantRefusal(t, err, []byte(response))
	})
}

// FuzzSession: session bytes are the server's own, yet they must not panic.
func FuzzSession(f *testing.F) {
	w := newWorld(f)
	d := newDevice()
	w.enroll(alice, d)
	challenge, session := w.beginLogin()
	response := d.answer(challenge)
	f.Add(session)
	f.Add([]byte(`{"purpose":"login"}`))
	f.Fuzz(func(t *testing.T, session []byte) {
		w.t = t // one at a time
		_, err := w.finishLogin(session, response)
		wantRefusal(t, err, session)
		_ = w.change(func(ctx context.Context, tx *store.Tx) error {
			_, _, err := w.EnableTOTP(ctx, tx, alice, session, "123456", "x")
			wantRefusal(t, err, session)
			return nil
		})
	})
}

func wantRefusal(t *testing.T, err error, in []byte) {
	t.Helper()
	switch problem.ReasonOf(err) {
	case problem.OK, problem.AccountInvalid, problem.AccountExists, problem.AuthInvalid, problem.AuthExpired:
	default:
		t.Errorf("%q: %v", in, err)
	}
}
