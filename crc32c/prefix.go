package crc32c

import "encoding/binary"

// Prefix is the four bytes that, with n-4 zeros behind them, have this sum: n bytes can be put in the place of n
// others, and no sum that they are part of changes. n is at least 4.
//
// A sum is linear in the bytes but for its start and end, which turn all bits round. Zeros that follow move it by a
// power of x, and what is divided by that power again is the sum that the four bytes must have alone. They in turn
// are moved by x^32, and nothing is lost on the way, as they are as long as the sum.
func Prefix(sum uint32, n int64) (p [4]byte) {
	zeros := n - 4
	own := multiply(power(perByteInverse, zeros), sum^Zeros(zeros))
	binary.LittleEndian.PutUint32(p[:], ^multiply(power(perByteInverse, 4), ^own))
	return p
}

// Zeros is the checksum of n zeros.
func Zeros(n int64) uint32 { return ^Combine(^uint32(0), 0, n) }

// perByteInverse is x^-8.
var perByteInverse = divided(one, 8)

// divided is a divided by x to the power of n.
func divided(a uint32, n int) uint32 {
	for range n {
		top := a >> 31 // the term at x^0, which only a reduction can have made
		a = (a^polynomial&-top)<<1 | top
	}
	return a
}

// power is a to the power of n.
func power(a uint32, n int64) uint32 {
	p := one
	for ; n > 0; n >>= 1 {
		if n&1 != 0 {
			p = multiply(p, a)
		}
		a = multiply(a, a)
	}
	return p
}
