package plugins

import (
	"testing"

	"github.com/datanode/datanode/policies"
)

// What a call of the host costs is part of what is recorded with each decision, and so the same on every
// node and in every version: a policy that calls log once takes this much more than the same one that
// makes the call of its own.
func TestHostCallCost(t *testing.T) {
	cost := func(change func(*guestParts)) uint64 {
		t.Helper()
		units, err := compile(t, newHost(t, Options{}), tiny(change)).Score(t.Context(), make([]policies.Facts, 1),
			make([]policies.Score, 1))
		if err != nil {
			t.Fatal(err)
		}
		return units
	}
	plain := cost(nil)
	logs := cost(func(g *guestParts) {
		g.imports = [][]byte{importFunc(moduleHost, "log", typeTwo)}
		g.score = cat([]byte{0x41, 16, 0x41, 4, 0x10, 0}, returnN)
	})
	const (
		constants = 2
		crossing  = 64 // of package meter, for a call of an import
		charged   = 256
	)
	if have, want := logs-plain, uint64(constants+crossing+charged); have != want {
		t.Errorf("a call of log costs %d units, want %d", have, want)
	}
	const entering, returning = 2 + 3 + 1, 2 // three parameters and a local; local.get and end
	if want := uint64(entering + returning); plain != want {
		t.Errorf("answering with n costs %d units, want %d", plain, want)
	}
}
