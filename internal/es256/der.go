package es256

// The tags of ITU-T X.690.
const (
	tagInteger  = 0x02
	tagSequence = 0x30
)

// derMost is the longest signature: two integers of 32 bytes with a zero before
// them, which keeps them positive, each with tag and length, and the sequence's own.
const derMost = 2 + 2*(2+1+half)

// toDER appends a signature as SEQUENCE of two INTEGERs. Zero is no number of a
// signature.
func toDER(dst []byte, signature *[Size]byte) (der []byte, ok bool) {
	dst = append(dst, tagSequence, 0)
	for _, number := range [2][]byte{signature[:half], signature[half:]} {
		for len(number) > 0 && number[0] == 0 {
			number = number[1:]
		}
		if len(number) == 0 {
			return nil, false
		}
		if number[0]&0x80 != 0 {
			dst = append(dst, tagInteger, byte(len(number)+1), 0)
		} else {
			dst = append(dst, tagInteger, byte(len(number)))
		}
		dst = append(dst, number...)
	}
	dst[1] = byte(len(dst) - 2) // at most 70: the short form of a length
	return dst, true
}

// fromDER reads what toDER writes, and nothing else.
func fromDER(out *[Size]byte, der []byte) bool {
	if len(der) < 2 || der[0] != tagSequence || int(der[1]) != len(der)-2 || der[1] >= 0x80 {
		return false
	}
	r, rest, ok := cutNumber(der[2:])
	if !ok {
		return false
	}
	s, rest, ok := cutNumber(rest)
	if !ok || len(rest) > 0 {
		return false
	}
	copy(out[half-len(r):half], r)
	copy(out[Size-len(s):], s)
	return true
}

// cutNumber reads a positive INTEGER of at most 32 bytes in its shortest form.
func cutNumber(der []byte) (number, rest []byte, ok bool) {
	if len(der) < 3 || der[0] != tagInteger || der[1] == 0 || der[1] > half+1 || len(der) < 2+int(der[1]) {
		return nil, nil, false
	}
	number, rest = der[2:2+der[1]], der[2+der[1]:]
	switch {
	case number[0]&0x80 != 0: // negative
		return nil, nil, false
	case number[0] == 0:
		if number = number[1:]; len(number) == 0 || number[0]&0x80 == 0 { // zero, or a zero too many
			return nil, nil, false
		}
	}
	return number, rest, len(number) <= half
}
