package lead

import (
	"sync/atomic"

	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

// misuse counts what somebody got wrong, or tried, with the sessions of the cell.
type misuse struct {
	owner  atomic.Uint64 // submissions in a session of somebody else
	number atomic.Uint64 // submissions under the number of another request
}

func (m *misuse) count(res state.Result) {
	switch {
	case !res.Misused:
	case res.Err.Code == wire.CodeDenied:
		m.owner.Add(1)
	default:
		m.number.Add(1)
	}
}
