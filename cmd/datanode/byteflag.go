package main

import (
	"fmt"

	"github.com/datanode/datanode/raftlog/state"
)

// byteFlag is a flag that is a number of bytes, such as 256Mi.
type byteFlag struct{ n, least, most uint64 }

func (f *byteFlag) String() string { return state.UnitsText(f.n) }
func (f *byteFlag) Type() string   { return "bytes" }

func (f *byteFlag) Set(text string) error {
	n, ok := state.ParseUnits(text)
	if !ok || n < f.least || n > f.most {
		return fmt.Errorf("want a number of bytes from %s to %s, such as 256Mi",
			state.UnitsText(f.least), state.UnitsText(f.most))
	}
	f.n = n
	return nil
}
