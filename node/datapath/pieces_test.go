package datapath

import (
	"errors"
	"testing"

	"github.com/datanode/datanode/wire"
)

// A put of more than it announced is refused as soon as one byte too many is there, whether or not the caller ever
// ends it.
func TestPutOfTooMuchIsSeenAtOnce(t *testing.T) {
	for _, length := range []int64{0, 2, AppendBytes - 1, AppendBytes, AppendBytes + 1} {
		chunks := [][]byte{make([]byte, length), make([]byte, 1)}
		r := &pieces{expect: length, hold: func(int) error { return nil }, recv: func() ([]byte, error) {
			if len(chunks) == 0 {
				return nil, errors.New("asked for more")
			}
			next := chunks[0]
			chunks = chunks[1:]
			return next, nil
		}}
		var err error
		for err == nil {
			_, _, err = r.next()
		}
		if wire.CodeOf(err) != wire.CodeInvalid {
			t.Errorf("one byte more than the %d announced: %v", length, err)
		}
	}
}

// The bytes of a put in its request are as many as announced, and no more than one append takes; those that are not
// copied into a batch are not the call's, which may end before a replica has done with them.
func TestWholePut(t *testing.T) {
	for _, c := range []struct {
		length   int64
		size     int
		code     wire.Code
		copyMade bool
	}{
		{100, 100, 0, false},
		{copiedBytes, copiedBytes, 0, false},
		{copiedBytes + 1, copiedBytes + 1, 0, true},
		{-1, 100, wire.CodeInvalid, false},
		{99, 100, wire.CodeInvalid, false},
		{100, 0, wire.CodeInvalid, false},
		{AppendBytes + 1, AppendBytes + 1, wire.CodeInvalid, false},
	} {
		raw := make([]byte, c.size)
		p, err := wholePut(raw, wire.PutRequest{Length: c.length, Whole: true})
		if wire.CodeOf(err) != c.code || c.code == 0 && (len(p) != c.size || (&p[0] != &raw[0]) != c.copyMade) {
			t.Errorf("%d announced, %d there: %d bytes, %v", c.length, c.size, len(p), err)
		}
	}
}
