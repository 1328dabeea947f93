package gateway

// scoopSize is what an open stream holds while nothing comes.
const scoopSize = 4 << 10

// scoop is the buffer of a stream: small while little comes at a time, since
// streams are many and mostly silent, and a lent piece while much does.
type scoop struct {
	small [scoopSize]byte
	large *[pieceSize]byte // nil: not lent
}

// next returns the buffer to read into, after a read of n bytes.
func (s *scoop) next(n int) []byte {
	switch {
	case s.large == nil && n == scoopSize:
		s.large = pieces.Get().(*[pieceSize]byte)
	case s.large != nil && n < scoopSize:
		s.drop()
	}
	if s.large != nil {
		return s.large[:]
	}
	return s.small[:]
}

// drop gives back what was lent.
func (s *scoop) drop() {
	if s.large != nil {
		pieces.Put(s.large)
		s.large = nil
	}
}
