package password

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strconv"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// ListFormat is how a list of breached passwords is written.
type ListFormat string

// The formats.
const (
	ListAuto   ListFormat = ""       // told by the first line
	ListHashes ListFormat = "hashes" // SHA-1 in hexadecimal, with :COUNT or without, as Have I Been Pwned gives them
	ListPlain  ListFormat = "plain"  // a password a line
)

// list reads the keys of a list, a line at a time.
type list struct {
	lines  lines
	format ListFormat
	seen   uint64 // the least count that is taken
	left   uint64 // lines that no password can be of, or that were seen too seldom
}

// next returns the key of the next line that has one; io.EOF at the end. What is
// wrong with the list is an ErrList, what is wrong with its source is not.
func (l *list) next() (uint64, error) {
	for {
		line, whole, err := l.lines.next()
		if err != nil {
			return 0, err
		}
		if len(line) == 0 && whole {
			continue
		}
		if l.format == ListAuto {
			if l.format, err = formatOf(line); err != nil {
				return 0, err
			}
		}
		if l.format == ListPlain && l.seen > 1 {
			return 0, fmt.Errorf("%w: passwords have no counts to choose by", ErrList)
		}
		key, ok := uint64(0), false
		if l.format == ListHashes {
			if key, ok, err = hashLine(line, l.seen); err != nil {
				return 0, fmt.Errorf("%w: line %d: %w", ErrList, l.lines.number, err)
			}
		} else if whole {
			key, ok = plainLine(line)
		}
		if ok {
			return key, nil
		}
		l.left++
	}
}

// formatOf tells the format by the first line.
func formatOf(line []byte) (ListFormat, error) {
	digest, _, _ := bytes.Cut(line, []byte(":"))
	if !isHex(digest) {
		return ListPlain, nil
	}
	switch len(digest) {
	case 40:
		return ListHashes, nil
	case 32, 64:
		return ListAuto, fmt.Errorf("%w: it begins like one of NTLM, MD5 or SHA-256 hashes: want SHA-1, or passwords (then say that the list is plain)", ErrList)
	}
	return ListPlain, nil
}

var errHashLine = errors.New("want a SHA-1 in hexadecimal, and :COUNT or nothing behind it")

// hashLine reads "5BAA61E4...:3303003"; ok is false when it was seen too seldom.
func hashLine(line []byte, seen uint64) (key uint64, ok bool, err error) {
	digest, count, counted := bytes.Cut(line, []byte(":"))
	if len(digest) != 40 || !isHex(digest) {
		return 0, false, errHashLine
	}
	n := uint64(1)
	if counted {
		if n, err = strconv.ParseUint(string(count), 10, 64); err != nil {
			return 0, false, errHashLine
		}
	}
	var first [8]byte
	if _, err := hex.Decode(first[:], digest[:16]); err != nil {
		return 0, false, errHashLine
	}
	return binary.BigEndian.Uint64(first[:]), n >= seen, nil
}

// plainLine reads a password. Those that cannot be chosen anyway are left out.
func plainLine(line []byte) (key uint64, ok bool) {
	if len(line) > maxBytes || !utf8.Valid(line) {
		return 0, false
	}
	plain := norm.NFC.Bytes(line)
	if n := utf8.RuneCount(plain); n < MinSecond || n > Max {
		return 0, false
	}
	return breachedKey(plain), true
}

func isHex(text []byte) bool {
	for _, c := range text {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') && (c < 'A' || c > 'F') {
			return false
		}
	}
	return len(text) > 0
}

// lines reads lines within a bounded buffer.
type lines struct {
	r      *bufio.Reader
	number int
}

func newLines(r io.Reader) lines { return lines{r: bufio.NewReaderSize(r, 64<<10)} }

// next returns a line without its end, which is valid until the next one; whole
// is false for the beginning of one that does not fit the buffer.
func (l *lines) next() (line []byte, whole bool, err error) {
	line, err = l.r.ReadSlice('\n')
	switch {
	case err == nil:
		whole = true
	case errors.Is(err, bufio.ErrBufferFull):
		line = bytes.Clone(line[:maxBytes+1])
		for errors.Is(err, bufio.ErrBufferFull) {
			_, err = l.r.ReadSlice('\n')
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, false, err
		}
	case errors.Is(err, io.EOF) && len(line) > 0:
		whole = true
	default:
		return nil, false, err
	}
	if l.number++; l.number == 1 {
		line = bytes.TrimPrefix(line, []byte("\uFEFF")) // some editors' mark
	}
	return bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r")), whole, nil
}
