package svid

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

const (
	keptFile  = "identity.json"
	draftMark = ".new-"   // between the name of a file and what tells its drafts apart
	maxKept   = 256 << 10 // bytes
)

// keeper keeps an identity with its key in one file, so that they always fit.
type keeper struct{ dir string }

// kept is the file.
type kept struct {
	Token        string   `json:"token"` // the name of the token that began it; no secret
	Key          []byte   `json:"key"`   // PKCS#8
	Certificates [][]byte `json:"certificates"`
	Roots        [][]byte `json:"roots"`
}

// tokenName says which token an identity came from; empty for none.
func tokenName(t JoinToken) string {
	if t.IsZero() {
		return ""
	}
	return hex.EncodeToString(t.ID[:])
}

// openKeeper proves that the folder can be written, before a token is spent on
// what could not be kept.
func openKeeper(dir string) (*keeper, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("keep the identity: %w", err)
	}
	if err := privateFolder(dir); err != nil {
		return nil, fmt.Errorf("keep the identity: %w", err)
	}
	path := filepath.Join(dir, keptFile)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("keep the identity: %w", err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), keptFile+draftMark) { // of a start that was cut
			_ = os.Remove(filepath.Join(dir, e.Name())) // one that stays does no harm: it is private
		}
	}
	draft, err := writeDraft(path, nil)
	if err == nil {
		err = os.Remove(draft)
	}
	if err != nil {
		return nil, fmt.Errorf("keep the identity: %w", err)
	}
	return &keeper{dir}, nil
}

// load returns the kept identity and the name of its token; nil without a file.
func (k *keeper) load() (*Identity, string, error) {
	path := filepath.Join(k.dir, keptFile)
	content, err := readPrivate(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, "", nil
	}
	if err != nil {
		return nil, "", fmt.Errorf("read the kept identity: %w", err)
	}
	defer clear(content)
	own, token, err := parseKept(content)
	if err != nil {
		return nil, "", fmt.Errorf("%s is damaged: remove it, run `sallyport join NAME` and start again with the new token: %w", path, err)
	}
	return own, token, nil
}

// parseKept reads the file. Its errors never show the key.
func parseKept(content []byte) (*Identity, string, error) {
	var k kept
	if strictJSON(content, &k) != nil {
		return nil, "", errors.New("it is not what was written")
	}
	defer clear(k.Key)
	parsed, err := x509.ParsePKCS8PrivateKey(k.Key)
	key, ok := parsed.(crypto.Signer)
	if err != nil || !ok {
		return nil, "", errors.New("the key cannot be read")
	}
	roots, err := parseAll(k.Roots)
	if err != nil {
		return nil, "", err
	}
	own, err := NewIdentity(k.Certificates, key, roots)
	return own, k.Token, err
}

// save replaces the kept identity, durably or not at all.
func (k *keeper) save(own *Identity, token string) error {
	path := filepath.Join(k.dir, keptFile)
	if token == "" { // started without one: it stays that of the file
		_, before, err := k.load()
		if err != nil {
			return err
		}
		token = before
	}
	content, err := marshalKept(own, token)
	if err != nil {
		return err
	}
	defer clear(content)
	draft, err := writeDraft(path, content)
	if err != nil {
		return err
	}
	if err := os.Rename(draft, path); err != nil {
		return errors.Join(err, os.Remove(draft))
	}
	return syncFolder(k.dir)
}

// readPrivate returns the content of a file that is nobody else's.
func readPrivate(path string) ([]byte, error) {
	f, err := openPrivate(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read from
	content, err := io.ReadAll(io.LimitReader(f, maxKept+1))
	if err == nil && len(content) > maxKept {
		err = fmt.Errorf("%s is larger than %d bytes", path, maxKept)
	}
	return content, err
}

// writeDraft writes a file beside path, durable and private, and returns its name.
func writeDraft(path string, content []byte) (draft string, err error) {
	var random [8]byte
	_, _ = rand.Read(random[:]) // crypto/rand.Read never fails (Go 1.24)
	draft = path + draftMark + hex.EncodeToString(random[:])
	f, err := os.OpenFile(draft, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) // #nosec G304 -- in the folder that the operator names
	if err != nil {
		return "", err
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return "", errors.Join(err, os.Remove(draft))
	}
	return draft, nil
}

// syncFolder makes the names in a folder durable.
func syncFolder(path string) error {
	d, err := os.Open(path) // #nosec G304 -- the folder that the operator names
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func marshalKept(own *Identity, token string) ([]byte, error) {
	key, err := x509.MarshalPKCS8PrivateKey(own.Certificate.PrivateKey)
	if err != nil {
		return nil, err
	}
	defer clear(key)
	return json.Marshal(kept{Token: token, Key: key, Certificates: own.Certificate.Certificate, Roots: raw(own.RootCerts)})
}

// Keeps says whether a folder holds an identity of an earlier Join, whatever
// its state: Join itself judges it.
func Keeps(dir string) bool {
	if dir == "" {
		return false
	}
	_, err := os.Lstat(filepath.Join(dir, keptFile))
	return err == nil
}
