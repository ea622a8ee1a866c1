package node

import (
	"time"

	"github.com/datanode/datanode/node/clock"
)

// clock is the node's clock.
func (n *Node) clock() clock.Clock { return clock.Clock{Clock: n.cfg.Clock} }

// now is the node's wall clock. It decides nothing but delays: the cell's time is the leader's, in
// the entries.
func (n *Node) now() time.Time { return n.cfg.Clock.Now() }

// after is closed when d has gone by.
func (n *Node) after(d time.Duration) <-chan struct{} { return n.clock().After(d) }
