// Package crc32c has the checksum of everything that is stored or sent: CRC-32C (Castagnoli, RFC 3720 §B.4), and
// what the standard library lacks of it, the sum of bytes of which the sums of the parts are known. So bytes are
// summed once: for the record in a file, the frame on a connection, and the object that spans both.
//
// The sum of A followed by B is sum(A)·x^(8·len(B)) + sum(B), with both sums taken as polynomials modulo the CRC's
// own over GF(2). The powers of x are kept in a table for each byte of a length, so that the power for any length is
// a product of as many as the length has bytes that are not zero. (zlib's crc32_combine keeps one for each bit.)
//
// All functions may be called from any goroutine, and none allocates.
package crc32c

import "hash/crc32"

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Sum is the checksum of p.
func Sum(p []byte) uint32 { return crc32.Update(0, castagnoli, p) }

// Update is the checksum of bytes whose sum is sum, followed by p. The sum of nothing is 0.
func Update(sum uint32, p []byte) uint32 { return crc32.Update(sum, castagnoli, p) }

// Combine is the checksum of bytes whose sum is a, followed by lenB bytes, 0 or more, whose sum is b.
func Combine(a, b uint32, lenB int64) uint32 {
	for i := 0; lenB > 0; i, lenB = i+1, lenB>>8 {
		if digit := lenB & 0xff; digit != 0 {
			a = multiply(powers[i][digit], a)
		}
	}
	return a ^ b
}

// polynomial is the CRC's own without x^32, and the bits of all polynomials here are reversed, as CRC-32C has them:
// the highest bit is for x^0.
const polynomial = crc32.Castagnoli

// one is the polynomial 1, and perByte is x^8.
const (
	one     uint32 = 1 << 31
	perByte uint32 = 1 << 23
)

// powers[i][d] is x to the power of 8·d·256^i: by how much d·256^i bytes that follow move a sum.
var powers = makePowers()

func makePowers() (p [8][256]uint32) {
	step := perByte
	for i := range p {
		p[i][0] = one
		for d := 1; d < 256; d++ {
			p[i][d] = multiply(p[i][d-1], step)
		}
		step = multiply(p[i][255], step)
	}
	return p
}

// multiply is a·b modulo the polynomial, in as many steps for any a and b.
func multiply(a, b uint32) (product uint32) {
	for range 32 {
		product ^= b & -(a >> 31)    // the term of a that is now at x^0
		b = b>>1 ^ polynomial&-(b&1) // times x
		a <<= 1
	}
	return product
}
