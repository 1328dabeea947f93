package export

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"time"
)

// position is how far a feed has come, in a file of one line of fixed length:
// the journal, the sequence number of the next record, and a checksum. It is
// rewritten in place by one write, which takes no room on a full disk. It is
// synced now and then only: one that is older than it could be makes records
// leave twice, and never leaves one out.
type position struct {
	file   *os.File
	synced time.Time
	longer bool // than a line of ours, when it was read: damaged
}

const (
	positionForm = "sallyport-export-position journal %-32.32s sequence %020d"
	positionLine = len("sallyport-export-position journal ") + 32 + len(" sequence ") + 20 + len(" crc 01234567\n")
	syncEvery    = time.Second
)

// openPosition opens the file of a feed, which is named after what it sends where.
func openPosition(dir, signal, target string) (*position, error) {
	sum := sha256.Sum256([]byte(target))
	name := filepath.Join(dir, fmt.Sprintf("%s-%x.position", signal, sum[:8]))
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600) // #nosec G304 -- a name of ours in the data folder
	if err != nil {
		return nil, fmt.Errorf("export: open position: %w", err)
	}
	return &position{file: f}, nil
}

// errNoPosition tells of a feed that never sent anything.
var errNoPosition = errors.New("no position yet")

// load returns the position in a journal; 0 of a journal that it was not kept for.
func (p *position) load(journal string) (uint64, error) {
	line := make([]byte, positionLine+1)
	n, err := p.file.ReadAt(line, 0)
	if err != nil && err != io.EOF {
		return 0, fmt.Errorf("read position: %w", err)
	}
	if n == 0 {
		return 0, errNoPosition
	}
	p.longer = n > positionLine
	var of string
	var sequence uint64
	if _, err := fmt.Sscanf(string(line[:n]), "sallyport-export-position journal %s sequence %d crc ", &of, &sequence); err != nil ||
		string(line[:n]) != string(positionText(of, sequence)) {
		return 0, errors.New("read position: the file is damaged")
	}
	if of != journal {
		return 0, errNoPosition
	}
	return sequence, nil
}

func positionText(journal string, sequence uint64) []byte {
	line := fmt.Appendf(nil, positionForm, journal, sequence)
	return fmt.Appendf(line, " crc %08x\n", crc32.ChecksumIEEE(line))
}

// save keeps a position.
func (p *position) save(journal string, sequence uint64) error {
	_, err := p.file.WriteAt(positionText(journal, sequence), 0)
	if err == nil && p.longer { // what lies behind the line would make it unreadable for ever
		if err = p.file.Truncate(int64(positionLine)); err == nil {
			p.longer = false
		}
	}
	if err != nil {
		return fmt.Errorf("write position: %w", err)
	}
	if now := time.Now(); now.Sub(p.synced) >= syncEvery { // of the process: it bounds work, and dates nothing
		p.synced = now
		if err := p.file.Sync(); err != nil {
			return fmt.Errorf("sync position: %w", err)
		}
	}
	return nil
}

func (p *position) close() { _, _ = p.file.Sync(), p.file.Close() } // an older one does no harm
