package lead

import (
	"testing"
	"time"

	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

// A delete beside an open one is merged into it, so one that keeps the files for another time is refused: whoever asked
// for a grace would be told that there is one, and the files would go at once.
func TestDeletesOfAnotherGraceAreRefused(t *testing.T) {
	const day = state.Micros(24 * time.Hour / time.Microsecond)
	for _, c := range []struct {
		open   string
		origin policies.Origin
		grace  state.Micros
		want   wire.Code
	}{
		{open: "delete 1", grace: 0},
		{open: "delete 1", grace: day, want: wire.CodeConflict},
		{open: "delete 1 grace=24h", grace: day},
		{open: "delete 1 grace=24h", grace: 0, want: wire.CodeConflict},
		{open: "delete 1 grace=24h", grace: 0, origin: policies.OriginCell},
		{open: "move 1 from=n1", grace: day},
	} {
		cell := newAgingCell(t, nil)
		cell.sealed(1)
		cell.admit(c.open)
		s := &Submission{Origin: c.origin}
		if s.Origin == 0 {
			s.Origin = policies.OriginUser
		}
		view := cell.State.Snapshot()
		if err := sameGrace(view, s, view.Extent(1), c.grace); wire.CodeOf(err) != c.want {
			t.Errorf("a delete with grace %s beside %q: %v, want code %s", c.grace.Duration(), c.open, err, c.want)
		}
	}
}
