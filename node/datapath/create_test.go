package datapath

import (
	"testing"

	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

// A node writes to an extent, or discards it unwritten, only if the log says that the node itself had it made. Whatever
// else it is told of is counted.
func TestMadeByThisNode(t *testing.T) {
	misuses := 0
	o := &Options{Self: "node/n1", NoteMisuse: func() { misuses++ }}
	own := state.Op{Kind: policies.KindCreate, Extent: 7, Origin: policies.OriginCell, AskedBy: "node/n1"}
	for name, test := range map[string]struct {
		change func(*state.Op)
		want   wire.Code
	}{
		"its own":                      {func(*state.Op) {}, 0},
		"its own, in plaintext":        {func(o *state.Op) { o.AskedBy = "" }, 0},
		"another extent's":             {func(o *state.Op) { o.Extent = 8 }, wire.CodeProtocol},
		"a seal":                       {func(o *state.Op) { o.Kind = policies.KindSeal }, wire.CodeProtocol},
		"another node's":               {func(o *state.Op) { o.AskedBy = "node/n2" }, wire.CodeProtocol},
		"a client's":                   {func(o *state.Op) { o.Origin = policies.OriginUser }, wire.CodeProtocol},
		"a client's, with an identity": {func(o *state.Op) { o.AskedBy = "client/c" }, wire.CodeProtocol},
	} {
		op := own
		test.change(&op)
		misuses = 0
		err := o.checkMadeBy(&op, 7)
		if wire.CodeOf(err) != test.want || (err == nil) != (test.want == 0) || (misuses > 0) != (err != nil) {
			t.Errorf("%s: %v, %d misuses", name, err, misuses)
		}
	}
	if err := o.checkMadeBy(nil, 7); wire.CodeOf(err) != wire.CodeNotFound {
		t.Errorf("one that is forgotten: %v", err)
	}
}
