// Package journal is the one record that each request leaves behind, and the
// log store at once: frames of records, checksummed and hash-chained, appended
// to segments; closed segments are sealed into compressed, indexed ones.
//
// It promises that a record which Append acknowledged survives the end of the
// process, however it ends, and one which AppendSync acknowledged a loss of
// power; that what a crash tears is only what nobody was told of, and is cut,
// kept aside (unless the disk is full) and said; that a changed, missing,
// exchanged or repeated byte is found by Verify; that the folder keeps to its
// size, the oldest segments going first; that room for the record is known
// before a request begins (Admit); and that any process can read it, without a
// lock, beside its one writer.
//
// It refuses a second writer, a record that will not fit, and everything while
// the disk fails: the door stops before the record does. It has no field for a
// header, a body, a query value or a token.
//
// # Writing
//
// Callers that append at the same time share one frame and one write(2): the
// first of them leads, takes the batch when the write before is done, and the
// others wait for it. Alone, a record costs the write and a hash. One goroutine
// syncs every 100 ms, closes segments and frees old ones; another seals.
//
// The room of a live segment is allocated when it begins, with a reserve behind
// it, so that a disk which others fill stops new requests at a segment's end and
// not in the middle of a record. When nothing may be freed, ordinary requests
// are refused and administration has the reserve.
//
// A write that fails leaves nothing: the file is cut back, requests are refused,
// and once a second a mark is tried. A sync that fails is not tried again, since
// the kernel may have dropped what it could not write: the segment is closed as
// it is, and sealing writes it anew.
//
// # The folder
//
//	00000001.seg   a sealed segment
//	00000002.log   a segment as it was written; the highest number is live
//	NUMBER-OFFSET.torn  what was cut off at that offset of a live segment
//	head           how far the journal was synced
//	floor          where the oldest kept segment begins
//	lock           flock(2) of the writer
//	*.tmp          unfinished; means nothing after a crash
//
// A file has its final name only when its contents are synced. The old segment
// is synced before the new one begins, so a loss of power tears the last one only.
//
// # The format, version 1
//
// Numbers of fixed size are little endian; v marks a varint (unsigned LEB128); a
// text is its length v and its bytes. CRC is CRC-32C. H is SHA-256.
//
//	segment header
//	   8  "SALLYJNL"
//	   4  length of the body
//	      body:  v version, 16 id of the journal, 8 number of the segment,
//	             8 sequence number of its first record, 8 time (microseconds
//	             since 1970), 32 chain value before it, text zone, v count of
//	             stages, texts their names
//	   4  CRC of all that
//
//	frame, in a .log behind its header, again and again
//	   4  length of the payload, 1 to 1,048,576
//	   4  CRC of the length, the payload and the chain value
//	      payload: records
//	  32  chain value after the frame
//
//	record
//	   v  length of the rest
//	   1  kind: 0 request, 1 open, 2 end, 3 admin, 4 mark
//	   1  flags: 1 correlation id binary, 2 trace id binary, 4 client is IPv4,
//	      8 client is IPv6, 16 principal binary
//	  16  correlation id, when binary
//	  16  trace id, when binary
//	   8  time (microseconds since 1970)
//	      text correlation id, unless binary
//	      text trace id, unless binary
//	      4 or 16 client
//	      texts listener, service, route, method
//	      16 principal, or text principal
//	      text reason
//	   v  status, v bytes in, v bytes out, v duration (microseconds)
//	   v  count of stages, v each (microseconds)
//	   v  count of tags, texts
//
// The chain: before the first frame of a segment it is H(chain value before the
// segment, header); after a frame it is H(chain value before the frame,
// payload). Before segment 1 it is 32 zero bytes.
//
//	sealed segment
//	      segment header, as it was
//	      blocks: about 2,048 records each, whole frames
//	        the binary correlation and trace ids of all records, in their order
//	        zstd of: per payload v its length, and its records without those ids
//	      filters, one for each block, then one for the segment
//	      index
//	   8  offset of the index
//	   4  length of the index
//	   4  CRC of the index and the twelve bytes before
//	   8  "SALLYSEG"
//
//	index
//	   v  records, v frames, 8 earliest and 8 latest time, 32 chain value at the end
//	   v  length of the segment's filter, 4 CRC of all filters
//	   v  count of facets; each: text service, text reason, v status
//	   v  count of blocks; each:
//	        v bytes of ids, v bytes of zstd, v bytes that come out of it,
//	        4 CRC of the block, v records, 8 earliest and 8 latest time,
//	        32 chain value after it, v length of its filter,
//	        v count of its facets, v each: the difference to the one before
//
// A filter is a split block Bloom filter as Apache Parquet specifies it, of
// lines of 32 bytes, each with its CRC behind it; a line that does not match it
// is not asked. Its hash is the first eight bytes of H(kind, key): the kind
// is "c" for correlation ids and "p" for principals, the key is as it stands in
// the record. The upper half of the hash, times the number of lines, shifted
// right by 32, is the line; the lower half chooses the bits.
//
// head and floor are a line each, of a fixed form: see Head.
package journal
