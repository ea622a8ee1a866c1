package node

import (
	"context"
	"sync"
	"time"

	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
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

// allWork is how many of each class run at once on a node. Nobody has all of these places as long as there are two: a
// caller that asks for eight hundred things gets what is left by the others.
func allWork() map[work]int {
	return map[work]int{workLists: 4, workLog: 1, workVerify: 4, workSums: 2, workSessions: 16, workTrials: 1}
}

const (
	// maxTurnsWaiting bounds those that wait for a turn at one class of work, and maxTurnsWaitingEach those of one sharer.
	// One more is refused: it may ask again, or another node.
	maxTurnsWaiting     = 1024
	maxTurnsWaitingEach = 64
	// refuseAfter is how long a call is held that is refused: who asks again at once must not be busier for it.
	refuseAfter = 500 * time.Millisecond
)

// turns shares out one class of work. Its methods may be called from any goroutine.
type turns struct {
	work   work
	atOnce int
	pause  func(time.Duration) <-chan struct{} // nil: refused at once

	mu         sync.Mutex
	running    map[string]int         // Guarded by mu. By sharer, with those that rest.
	count      int                    // Guarded by mu. Those that do not rest. Invariant: at most atOnce
	waiting    fairQueue[chan<- bool] // Guarded by mu. Each has room for the token.
	turnedAway uint64                 // Guarded by mu.
	pace       pace                   // Guarded by mu.
}

func newTurns(w work, atOnce int) *turns {
	return &turns{work: w, atOnce: atOnce, running: map[string]int{},
		waiting: fairQueue[chan<- bool]{most: maxTurnsWaiting, mostEach: maxTurnsWaitingEach}}
}

func newAllTurns(clock mux.Clock, pause func(time.Duration) <-chan struct{}) map[work]*turns {
	all := map[work]*turns{}
	for w, atOnce := range allWork() {
		all[w] = newTurns(w, atOnce)
		all[w].pause = pause
		switch w {
		case workLists, workLog, workSums, workTrials: // the others wait for them, or for the log
			all[w].pace.clock = clock
		}
	}
	return all
}

// take waits for a turn of the sharer. done ends it.
func (t *turns) take(ctx context.Context, sharer string) (done func(), err error) {
	t.mu.Lock()
	turn := make(chan bool, 1)
	leave := t.waiting.push(sharer, turn)
	if leave == nil {
		t.turnedAway++
		t.mu.Unlock()
		if t.pause != nil {
			select {
			case <-t.pause(refuseAfter):
			case <-ctx.Done():
			}
		}
		return nil, wire.Errorf(0, wire.CodeExhausted,
			"%d calls of %s wait for a turn at %s already, or as many as may of all; ask again in a moment, or another node",
			maxTurnsWaitingEach, sharer, t.work)
	}
	t.giveLocked()
	t.mu.Unlock()
	select {
	case <-turn:
		began := t.pace.now()
		return func() { t.end(sharer, began) }, nil
	case <-ctx.Done():
	}
	t.mu.Lock()
	left := leave()
	t.mu.Unlock()
	if !left { // it was given at this moment
		t.end(sharer, t.pace.now())
	}
	return nil, ctx.Err()
}

// end gives the place to the next at once. Who has worked for long rests first: until then the place counts as its own.
func (t *turns) end(sharer string, began time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.count--
	rest := t.pace.worked(sharer, began)
	if rest == 0 {
		t.endRestLocked(sharer)
	} else {
		t.pace.clock.AfterFunc(rest, func() {
			t.mu.Lock()
			defer t.mu.Unlock()
			t.endRestLocked(sharer)
			t.giveLocked()
		})
	}
	t.giveLocked()
}

func (t *turns) endRestLocked(sharer string) {
	if t.running[sharer]--; t.running[sharer] == 0 {
		delete(t.running, sharer)
	}
}

// giveLocked gives turns while there are places.
func (t *turns) giveLocked() {
	for t.count < t.atOnce {
		sharer, turn, ok := t.waiting.next(func(s string) bool { return t.running[s] < max(1, t.atOnce-1) })
		if !ok {
			return
		}
		t.count++
		t.running[sharer]++
		turn <- true
	}
}

// tally is how many run, how many wait, and how many were refused since the start.
func (t *turns) tally() (running, waiting int, turnedAway uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.count, t.waiting.size, t.turnedAway
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
	return n.turns[w].take(ctx, n.sharer(c))
}

// costs is whose share something takes that is done for a call, here and on other nodes.
type costs struct {
	sharer string
	behalf string // whom to name when another node is asked; empty: this node
}

func (n *Node) costsOf(c *mux.ServerCall) costs { return costs{sharer: n.sharer(c), behalf: c.Asker()} }

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
