package sidecar

import "sync"

// pieceSize is what is copied at a time.
const pieceSize = 32 << 10

// piecePool lends the buffers through which bodies are moved. What is put back
// has no owner and its content no meaning.
var piecePool = sync.Pool{New: func() any { return new([pieceSize]byte) }}

// pieces lends them to the reverse proxy of calls (httputil.BufferPool).
type pieces struct{}

func (pieces) Get() []byte { return piecePool.Get().(*[pieceSize]byte)[:] }

func (pieces) Put(b []byte) {
	if len(b) == pieceSize {
		piecePool.Put((*[pieceSize]byte)(b))
	}
}
