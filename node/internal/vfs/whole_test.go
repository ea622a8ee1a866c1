package vfs

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
)

// A crash at any call of ReplaceFile leaves the old content or the new one, and once it has returned,
// the new one.
func TestReplaceFileIsOneStep(t *testing.T) {
	before, after := []byte("what was there"), bytes.Repeat([]byte("new"), 1000)
	for calls := 1; ; calls++ {
		mem := NewMem()
		if err := mem.MkdirAll("/d"); err != nil {
			t.Fatal(err)
		}
		if err := ReplaceFile(mem, "/d/file", before); err != nil {
			t.Fatal(err)
		}
		faulty := NewFault(mem)
		faulty.Set(FailFrom(calls, ErrCrashed))
		err := ReplaceFile(faulty, "/d/file", after)
		mem.Crash(rand.New(rand.NewPCG(1, uint64(calls))))
		got, readErr := ReadFile(mem, "/d/file", 1<<20)
		if readErr != nil {
			t.Fatalf("after %d calls: %v", calls, readErr)
		}
		if err == nil {
			if !bytes.Equal(got, after) {
				t.Fatalf("it returned, and a crash undid it: %q", got)
			}
			return
		}
		if !bytes.Equal(got, before) && !bytes.Equal(got, after) {
			t.Fatalf("after %d calls: %s", calls, fmt.Sprintf("%.40q", got))
		}
	}
}
