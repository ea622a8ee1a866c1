package datapath

import (
	"errors"
	"fmt"
	"testing"

	"github.com/datanode/datanode/node/extent"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

// Bytes are given up as damaged only when each replica is. One that could not be looked at, or is on a disk that has
// failed, may have them.
func TestUnreadable(t *testing.T) {
	rot := &extent.Error{Code: extent.CodeCorrupt}
	disk := fmt.Errorf("read: %w", &extent.Error{Code: extent.CodeDiskFailed, Err: rot})
	far := wire.Errorf(wire.OpRead, wire.CodeDiskFailed, "nothing is written any more")
	gone := wire.Errorf(wire.OpRead, wire.CodeNotFound, "no such file")
	broke := wire.Errorf(wire.OpRead, wire.CodeConnection, "it broke")
	for _, c := range []struct {
		whole int
		errs  []error
		want  wire.Code
	}{
		{2, []error{rot, rot}, wire.CodeCorrupt},
		{1, []error{rot, rot}, wire.CodeCorrupt}, // one is suspect already
		{2, []error{gone, gone}, wire.CodeNotFound},
		{2, []error{broke, rot}, wire.CodeConnection},
		{2, []error{rot, disk}, wire.CodeUnavailable},
		{2, []error{disk, rot}, wire.CodeUnavailable},
		{2, []error{gone, far}, wire.CodeUnavailable},
		{1, []error{far}, wire.CodeUnavailable},
		{2, []error{rot, broke}, wire.CodeUnavailable},
		{3, []error{rot, rot}, wire.CodeUnavailable}, // the third node is down
	} {
		e := &state.Extent{ID: 7}
		for i := range max(c.whole, len(c.errs)) {
			r := state.Replica{Node: state.NodeID(fmt.Sprint("n", i)), State: state.ReplicaWhole}
			if i >= c.whole {
				r.State = state.ReplicaSuspect
			}
			e.Replicas = append(e.Replicas, r)
		}
		got := unreadable("n0", e, c.errs)
		if got.Code != c.want {
			t.Errorf("%d whole replicas, %v: %s, want %s", c.whole, errors.Join(c.errs...), got.Code, c.want)
		}
	}
}
