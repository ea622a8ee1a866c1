package meter_test

// loopHeavy is a policy that does nothing but run through short loops: for each record it adds up its
// 80 bytes one by one. It is the worst that metering can meet in honest code.
func loopHeavy() []byte {
	const (
		in, n, out, i, j, sum = 0, 1, 2, 3, 4, 5
	)
	score := []byte{
		0x02, 0x40, 0x03, 0x40, // block loop
		0x20, i, 0x20, n, 0x4f, 0x0d, 1, // i >= n: break
		0x41, 0, 0x21, j, 0x41, 0, 0x21, sum, // j = 0, sum = 0
		0x03, 0x40, // loop
		0x20, sum,
		0x20, in, 0x20, i, 0x41, 0xd0, 0, 0x6c, 0x6a, 0x20, j, 0x6a, 0x2d, 0, 24, // byte in[24 + 80*i + j]
		0x6a, 0x21, sum, // sum +=
		0x20, j, 0x41, 1, 0x6a, 0x22, j, 0x41, 0xd0, 0, 0x48, 0x0d, 0, // j++ < 80: again
		0x0b,
		0x20, out, 0x20, i, 0x41, 3, 0x74, 0x6a, 0x20, sum, 0x36, 2, 0, // out[8*i] = sum
		0x20, i, 0x41, 1, 0x6a, 0x21, i, 0x0c, 0, // i++, again
		0x0b, 0x0b,
		0x20, n,
	}
	bump := []byte{0x23, 0, 0x23, 0, 0x20, 0, 0x41, 7, 0x6a, 0x41, 0x78, 0x71, 0x6a, 0x24, 0}
	return wasm(
		section(1, funcType(i32+i32+i32, i32), funcType(i32, i32)),
		section(3, uleb(0), uleb(1)),
		section(5, []byte{0, 2}),
		section(6, []byte{0x7f, 1, 0x41, 0x80, 0x20, 0x0b}),
		section(7, export("memory", 2, 0), export("policy_score", 0, 0), export("policy_alloc", 0, 1)),
		section(10, body(i32+i32+i32, score), body("", bump)),
	)
}
