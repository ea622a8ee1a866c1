package describe

import (
	"fmt"

	"github.com/datanode/datanode/raftlog"
	"github.com/datanode/datanode/wire"
)

// Snapshot says what a snapshot stands for, and whether it counts.
func Snapshot(s raftlog.StoredSnapshot) wire.LogSnapshot {
	out := wire.LogSnapshot{
		ID: s.ID, Index: uint64(s.Index), Term: s.Term, Applied: uint64(s.Applied.Index), Micros: s.Taken.UnixMicro(),
		Bytes: uint64(s.Bytes), Level: int(s.Version), OK: s.Err == nil && !s.Aside, Aside: s.Aside,
	}
	if s.Taken.IsZero() {
		out.Micros = 0
	}
	if s.Applied.Index != 0 {
		out.Chain = fmt.Sprintf("%x", s.Applied.Hash)
	}
	if s.Err != nil {
		out.Detail = s.Err.Error()
	}
	return out
}
