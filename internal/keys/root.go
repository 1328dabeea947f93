package keys

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/aead/aesgcm"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/tink"
)

var (
	// ErrWrongRoot says that a value was sealed under another root key.
	ErrWrongRoot = errors.New("wrong root key")
	// ErrAltered says that a sealed value was changed, or moved here from another place.
	ErrAltered = errors.New("sealed value was altered or moved")
)

const (
	// sealContext starts the associated data of every seal of this package, so
	// that none can be taken for a seal of another use of the root key.
	sealContext = "sallyport.dev/seal/1\x00"
	// sealOverhead is what a seal adds: Tink's prefix of 5 bytes, nonce, tag.
	sealOverhead = 5 + 12 + 16
	maxName      = 255
	maxPlain     = 1 << 20 // bytes; AES-GCM bears far more, no key does
)

// Root is the root key of a zone. Safe for concurrent use. It does not print.
type Root struct {
	file string
	ids  []uint32  // Tink's ids of the enabled keys in the file; its primary seals
	aead tink.AEAD // a field, not a keyset: tests switch sealing off to prove that they would notice
}

// OpenRoot reads the root key of a file. When there is none it is made, if
// create says so, and fs.ErrNotExist else: a zone that has sealed anything must
// never be given a new root (see Sealed).
func OpenRoot(path string, create bool) (*Root, error) {
	content, err := readRootFile(path)
	if create && errors.Is(err, fs.ErrNotExist) {
		// Another process may be first: then its key is taken.
		if err := makeRoot(path); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
		content, err = readRootFile(path)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: restore it from where it is kept apart, or for a further process of the zone copy that of the first; without it what is sealed in the store cannot be opened", err)
	}
	if err != nil {
		return nil, err
	}
	defer clear(content)
	r, err := parseRoot(content)
	if err != nil {
		return nil, fmt.Errorf("keys: root key %s: %w: restore the file from where it is kept apart", path, err)
	}
	r.file = path
	return r, nil
}

// parseRoot reads a keyset in Tink's JSON form. Its errors never show content.
func parseRoot(content []byte) (*Root, error) {
	handle, err := insecurecleartextkeyset.Read(keyset.NewJSONReader(bytes.NewReader(content)))
	if err != nil {
		return nil, errors.New("not a Tink keyset")
	}
	r := &Root{}
	for i := range handle.Len() {
		e, err := handle.Entry(i)
		if err != nil {
			return nil, fmt.Errorf("keyset: %w", err)
		}
		key, ok := e.Key().(*aesgcm.Key)
		if !ok {
			return nil, errors.New("a key of it is not AES-GCM")
		}
		p, ok := key.Parameters().(*aesgcm.Parameters)
		if !ok || p.KeySizeInBytes() != 32 || p.Variant() != aesgcm.VariantTink {
			return nil, errors.New("a key of it is not AES256-GCM of Tink's form")
		}
		if e.KeyStatus() == keyset.Enabled {
			r.ids = append(r.ids, e.KeyID())
		}
	}
	if r.aead, err = aead.New(handle); err != nil {
		return nil, fmt.Errorf("keyset: %w", err)
	}
	return r, nil
}

// makeRoot makes a new key and writes it; fs.ErrExist when there is one.
func makeRoot(path string) error {
	handle, err := keyset.NewHandle(aead.AES256GCMKeyTemplate())
	if err != nil {
		return fmt.Errorf("keys: make root key: %w", err)
	}
	var content bytes.Buffer
	content.Grow(4 << 10) // so that clearing it leaves no shorter copy behind
	defer func() { clear(content.Bytes()) }()
	if err := insecurecleartextkeyset.Write(handle, keyset.NewJSONWriter(&content)); err != nil {
		return fmt.Errorf("keys: make root key: %w", err)
	}
	return writeRootFile(path, content.Bytes())
}

// Seal encrypts a value for the place that name says. Only Open with the same
// name opens it.
func (r *Root) Seal(name string, plaintext []byte) ([]byte, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	if len(plaintext) > maxPlain {
		return nil, fmt.Errorf("keys: seal %s: %d bytes are more than %d", name, len(plaintext), maxPlain)
	}
	sealed, err := r.aead.Encrypt(plaintext, []byte(sealContext+name))
	if err != nil {
		return nil, fmt.Errorf("keys: seal %s: %w", name, err)
	}
	return sealed, nil
}

// Open decrypts what Seal made for the same name. The error is ErrWrongRoot or
// ErrAltered. The caller clears the plaintext when it has done with it.
func (r *Root) Open(name string, sealed []byte) ([]byte, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	if len(sealed) > maxPlain+sealOverhead {
		return nil, fmt.Errorf("keys: open %s: %w", name, ErrAltered)
	}
	plaintext, err := r.aead.Decrypt(sealed, []byte(sealContext+name))
	if err == nil {
		return plaintext, nil
	}
	if id, ok := sealedUnder(sealed); ok && !slices.Contains(r.ids, id) {
		return nil, fmt.Errorf("keys: open %s: %w: it was sealed under key %d, %s holds %v; "+
			"give the root key file that belongs to this data folder; nothing was changed", name, ErrWrongRoot, id, r.file, r.ids)
	}
	return nil, fmt.Errorf("keys: open %s: %w", name, ErrAltered)
}

// sealedUnder reads the id of the sealing key from Tink's prefix: 1, then the
// id in four bytes. It is not authenticated and serves messages only.
func sealedUnder(sealed []byte) (uint32, bool) {
	if len(sealed) < sealOverhead || sealed[0] != 1 {
		return 0, false
	}
	return binary.BigEndian.Uint32(sealed[1:5]), true
}

// checkName keeps names to visible ASCII without spaces, so that the
// associated data and every message has one spelling.
func checkName(name string) error {
	if name == "" || len(name) > maxName {
		return fmt.Errorf("keys: a name has 1 to %d bytes, this one %d", maxName, len(name))
	}
	for i := range len(name) {
		if name[i] <= ' ' || name[i] > '~' {
			return fmt.Errorf("keys: name %q holds more than visible ASCII", name)
		}
	}
	return nil
}

func (r *Root) String() string   { return "root key " + r.file }
func (r *Root) GoString() string { return r.String() }

// LogValue shows which file it is.
func (r *Root) LogValue() slog.Value { return slog.StringValue(r.String()) }
