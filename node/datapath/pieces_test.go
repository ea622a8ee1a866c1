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
