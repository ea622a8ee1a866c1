package node

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/client"
)

// movedClock is the real clock, moved on by hand.
type movedClock struct{ by atomic.Int64 }

func (m *movedClock) now() time.Time { return time.Now().Add(time.Duration(m.by.Load())) }

// A cell with one operation that waits and nothing else to do: its priority rises with the hour of the
// leader, not with the time of the last entry.
func TestAgeInAnIdleCell(t *testing.T) {
	t.Parallel()
	clock := &movedClock{}
	c := newCellWith(t, 1, 0, func(cfg *Config) { cfg.Clock.Now = clock.now })
	made := c.run(wire.Submission{Kind: "create", Replicas: []string{"n1"}, Want: 2})[0]
	c.run(wire.Submission{Kind: "seal", Extent: made.Extent})
	answers, err := c.client.Submit(testContext(t),
		[]wire.Submission{{Kind: "repair", Extent: made.Extent}}, client.SubmitOptions{})
	if err != nil || answers[0].Code != 0 {
		t.Fatal(answers, err)
	}
	id, err := state.ParseOpID(answers[0].Op)
	if err != nil {
		t.Fatal(err)
	}
	before := c.any().log.View().Op(id).Decision
	clock.by.Store(int64(10 * time.Minute))
	c.until("the repair's priority has risen by age", func(n *Node) bool {
		return n.log.View().Op(id).Decision.Priority >= before.Priority+60
	})
	if d := c.any().log.View().Op(id).Decision; d.Reason != before.Reason || d.Facts.WaitingMicros < 600_000_000 {
		t.Errorf("decided %+v, before %+v", d, before)
	}
}
