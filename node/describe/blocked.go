package describe

import (
	"github.com/datanode/datanode/node/schedule"
	"github.com/datanode/datanode/wire"
)

// Blocked says what waits, and for what.
func Blocked(w *schedule.Wait) wire.Blocked {
	out := wire.Blocked{
		Kind: w.Kind().String(), Node: string(w.Node), Count: w.Count, Reason: w.Reason, Why: w.Why,
		Since: int64(w.Since), Until: int64(w.Until),
	}
	if w.Op != nil {
		out.Op, out.Extent, out.Node = w.Op.ID.String(), uint64(w.Op.Extent), string(w.Op.Node)
	}
	return out
}
