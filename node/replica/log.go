package replica

import (
	"context"

	"github.com/datanode/datanode/raftlog/state"
)

// Log is what this package sees of the operation log. Its methods may be called from any goroutine.
type Log interface {
	// View is the state as this node has applied it: a snapshot, which never changes. All that is in it is durable on a
	// majority of the voters.
	View() *state.View
	// Changed is closed at the next change of the state. Ask for it before View, or a change is missed.
	Changed() <-chan struct{}
	// AppliedIndex is the last entry in View.
	AppliedIndex() state.Index
	// WaitApplied returns when this node has applied an entry, or with an error when it cannot, or ctx ends.
	WaitApplied(ctx context.Context, index state.Index) error
}
