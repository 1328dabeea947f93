package apikey

import (
	"math/big"
	"slices"
)

// safePoint says whether 32 bytes are the one encoding of a point of edwards25519
// (RFC 8032 section 5.1.3) that is not of small order. crypto/ed25519 takes any
// bytes as a public key: under one of small order there are signatures that hold
// for any message, so that nothing would be proven by them. It runs when a key is
// stored, on no secret, and need be neither fast nor of constant time.
func safePoint(encoded []byte) bool {
	c := newCurve()
	b := slices.Clone(encoded)
	slices.Reverse(b) // little endian
	sign := b[0] >> 7
	b[0] &= 0x7f
	y := new(big.Int).SetBytes(b)
	if y.Cmp(c.p) >= 0 {
		return false // a second spelling
	}
	// x^2 = (y^2 - 1) / (d y^2 + 1)
	yy := c.mul(y, y)
	x := new(big.Int).ModSqrt(c.mul(c.sub(yy, c.one), c.inverse(c.add(c.mul(c.d, yy), c.one))), c.p)
	if x == nil || x.Sign() == 0 {
		return false // not on the curve; or of order one or two
	}
	if x.Bit(0) != uint(sign) {
		x = c.sub(c.p, x)
	}
	for range 3 { // the small orders are 1, 2, 4 and 8
		x, y = c.double(x, y)
	}
	return x.Sign() != 0 || y.Cmp(c.one) != 0
}

// curve is edwards25519: -x^2 + y^2 = 1 + d x^2 y^2 modulo p (RFC 7748 section 4.1).
type curve struct{ p, d, one *big.Int }

func newCurve() curve {
	c := curve{one: big.NewInt(1)}
	c.p = new(big.Int).Sub(new(big.Int).Lsh(c.one, 255), big.NewInt(19))
	c.d = c.mul(big.NewInt(-121665), c.inverse(big.NewInt(121666)))
	return c
}

func (c curve) mul(a, b *big.Int) *big.Int { return c.mod(new(big.Int).Mul(a, b)) }
func (c curve) add(a, b *big.Int) *big.Int { return c.mod(new(big.Int).Add(a, b)) }
func (c curve) sub(a, b *big.Int) *big.Int { return c.mod(new(big.Int).Sub(a, b)) }
func (c curve) mod(a *big.Int) *big.Int    { return a.Mod(a, c.p) }

// inverse of what is never zero: d is no square.
func (c curve) inverse(a *big.Int) *big.Int { return new(big.Int).ModInverse(a, c.p) }

// double adds a point to itself (RFC 8032 section 5.1.4, in affine form).
func (c curve) double(x, y *big.Int) (*big.Int, *big.Int) {
	xy, xx, yy := c.mul(x, y), c.mul(x, x), c.mul(y, y)
	dd := c.mul(c.d, c.mul(xx, yy))
	return c.mul(c.add(xy, xy), c.inverse(c.add(c.one, dd))), c.mul(c.add(yy, xx), c.inverse(c.sub(c.one, dd)))
}
