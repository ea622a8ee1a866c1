package node

import (
	"context"

	"github.com/datanode/datanode/node/clock"
	"github.com/datanode/datanode/node/fair"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire/mux"
)

// work is a class of work that callers take turns at. The values are labels of metrics.
type work string

const (
	workLists    work = "lists"    // looks at much of the state, or reads a page of the log
	workLog      work = "log"      // reads the whole log
	workVerify   work = "verify"   // of an extent, on all nodes; takes a turn at sums on each
	workSums     work = "sums"     // reads a whole replica
	workSessions work = "sessions" // opening one; each is an entry
	workTrials   work = "trials"   // decides without proposing
)

// allWork is how many of each class run at once on a node.
func allWork() map[work]int {
	return map[work]int{workLists: 4, workLog: 1, workVerify: 4, workSums: 2, workSessions: 16, workTrials: 1}
}

func newAllTurns(c clock.Clock) map[work]*fair.Turns {
	all := map[work]*fair.Turns{}
	for w, atOnce := range allWork() {
		o := fair.Options{Work: string(w), AtOnce: atOnce, Pause: c.After}
		switch w {
		case workLists, workLog, workSums, workTrials: // the others wait for them, or for the log
			o.Pace = c
		}
		all[w] = fair.NewTurns(o)
	}
	return all
}

// inTurn is a handler whose calls take turns.
func (n *Node) inTurn(w work, serve handler) handler {
	return func(ctx context.Context, c *mux.ServerCall) error {
		done, err := n.turn(ctx, c, w)
		if err != nil {
			return err
		}
		defer done()
		return serve(ctx, c)
	}
}

// turn waits for a call's turn at a class of work.
func (n *Node) turn(ctx context.Context, c *mux.ServerCall, w work) (done func(), err error) {
	return n.turns[w].Take(ctx, n.sharer(c))
}

// sharer is who shares with others what a call takes: who it is made for; in plaintext the node of the cell that makes
// it, and else the machine that it comes from.
func (n *Node) sharer(c *mux.ServerCall) string {
	if who := c.Asker(); who != "" {
		return who
	}
	if node := c.Peer().Node; node != "" && n.log.View().Node(state.NodeID(node)) != nil {
		return "node/" + node
	}
	return machine(c.Remote())
}

// ownSharer is this node's own share.
func (n *Node) ownSharer() string { return "node/" + string(n.id) }
