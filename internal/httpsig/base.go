package httpsig

import "encoding/base64"

// appendBase appends the signature base (RFC 9421 section 2.5): a line for each
// component and, last and without line break, the signature parameters. params
// may lie in dst.
func appendBase[T []byte | string](dst []byte, cs []component, params T) []byte {
	for i := range cs {
		dst = append(append(append(dst, '"'), cs[i].name...), `": `...)
		dst = append(append(dst, cs[i].value...), '\n')
	}
	return append(append(dst, `"@signature-params": `...), params...)
}

// appendUnsigned appends the Signature-Input line and behind it, from end on,
// the base that is to be signed. The caller cuts at end and goes on with the
// Signature line: the base needs no buffer of its own.
func appendUnsigned(dst []byte, kind Strength, p Profile, in *parameters, cs []component) (out []byte, end int) {
	dst = append(dst, InputHeader+": "...)
	dst = append(append(dst, kind.label()...), '=')
	from := len(dst)
	dst = in.append(dst, kind, p)
	to := len(dst)
	dst = append(dst, "\r\n"...)
	end = len(dst)
	return appendBase(dst, cs, dst[from:to]), end
}

// appendSignature appends the Signature line.
func appendSignature(dst []byte, kind Strength, signature []byte) []byte {
	dst = append(dst, SignatureHeader+": "...)
	dst = append(append(dst, kind.label()...), "=:"...)
	dst = binary.AppendEncode(dst, signature)
	return append(dst, ":\r\n"...)
}

// binary is the base64 of byte sequences (RFC 9651 section 4.1.8), and
// canonical: the unused bits of the last character are zero.
var binary = base64.StdEncoding.Strict()
