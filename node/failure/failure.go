// Package failure says what a node's errors are called on the wire.
//
// It has no goroutine, no lock and no state.
package failure

import (
	"context"
	"errors"

	"github.com/datanode/datanode/node/extent"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

// storeCodes says what the store's errors are called on the wire.
var storeCodes = map[extent.Code]wire.Code{
	extent.CodeNotFound: wire.CodeNotFound, extent.CodeExists: wire.CodeConflict,
	extent.CodeStaleFence: wire.CodeStaleFence, extent.CodeWrongOffset: wire.CodeConflict,
	extent.CodeCorrupt: wire.CodeCorrupt, extent.CodeNoSpace: wire.CodeNoSpace,
	extent.CodeDiskFailed: wire.CodeDiskFailed, extent.CodeSealed: wire.CodePrecondition,
	extent.CodeTooShort: wire.CodeCorrupt, extent.CodeClosed: wire.CodeUnavailable,
	extent.CodeChanged: wire.CodeUnavailable, extent.CodeIO: wire.CodeInternal,
	extent.CodeBelowFloor: wire.CodePrecondition, extent.CodePunched: wire.CodePrecondition,
	extent.CodeUnsupported: wire.CodePrecondition,
}

// Of makes any error of a node one that crosses the wire: one that is typed already keeps its code, its outcome and
// the node that it came from.
func Of(op wire.OpType, node state.NodeID, err error) *wire.Error {
	var w *wire.Error
	if errors.As(err, &w) {
		out := *w
		out.Op = op
		if out.Node == "" {
			out.Node = string(node)
		}
		return &out
	}
	out := wire.Errorf(op, wire.CodeInternal, "%v", err)
	out.Node = string(node)
	var s *extent.Error
	switch {
	case errors.As(err, &s):
		out.Code = storeCodes[s.Code]
	case errors.Is(err, context.DeadlineExceeded):
		out.Code, out.Outcome = wire.CodeDeadline, wire.Unknown
	case errors.Is(err, context.Canceled):
		out.Code, out.Outcome = wire.CodeCancelled, wire.Unknown
	}
	return out
}
