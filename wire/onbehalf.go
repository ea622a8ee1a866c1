package wire

import "fmt"

const (
	codeStr8 = 0xd9
	// MaxIdentityBytes bounds who a request is made for.
	MaxIdentityBytes = 128
)

// AppendOnBehalf appends who a request is made for, such as "client/backup": what the body of a request with
// FlagOnBehalf begins with. It is a msgpack str 8, whatever its length. The node that a client's call reaches
// passes it on so, that the next one knows whose it is; it is taken from nodes only. identity must be a Plain
// text of 1 to MaxIdentityBytes bytes.
func AppendOnBehalf(buf []byte, identity string) []byte {
	buf = append(buf, codeStr8, byte(len(identity)))
	return append(buf, identity...)
}

// ParseOnBehalf reads what AppendOnBehalf writes. rest is the body proper.
func ParseOnBehalf(body []byte) (rest []byte, identity string, err error) {
	if len(body) < 2 || body[0] != codeStr8 {
		return nil, "", fmt.Errorf("a request on behalf of another: want a msgpack str 8 first")
	}
	size := int(body[1])
	if size == 0 || size > MaxIdentityBytes || size > len(body)-2 {
		return nil, "", fmt.Errorf("a request on behalf of another: an identity of %d bytes, want 1 to %d, and %d are there",
			size, MaxIdentityBytes, len(body)-2)
	}
	identity = string(body[2 : 2+size])
	if !Plain(identity) {
		return nil, "", fmt.Errorf("a request on behalf of another: %q is not a plain text", identity)
	}
	return body[2+size:], identity, nil
}
