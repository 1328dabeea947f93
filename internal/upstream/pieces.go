package upstream

import "sync"

// pieceSize is how much of a body is moved at once.
const pieceSize = 32 << 10

// pieces lends the buffers through which bodies are moved. What is put back has
// no owner and its content no meaning.
var pieces = sync.Pool{New: func() any { return new([pieceSize]byte) }}
