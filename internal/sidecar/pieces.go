package sidecar

import "sync"

// pieceSize is what is copied at a time.
const pieceSize = 32 << 10

// pieces lends buffers to the reverse proxies (httputil.BufferPool).
type pieces struct{ pool sync.Pool }

func (p *pieces) Get() []byte {
	if b, ok := p.pool.Get().(*[pieceSize]byte); ok {
		return b[:]
	}
	return make([]byte, pieceSize)
}

func (p *pieces) Put(b []byte) {
	if len(b) == pieceSize {
		p.pool.Put((*[pieceSize]byte)(b))
	}
}
