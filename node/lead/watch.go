package lead

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

// watch is what the leader knows about the other nodes from their heartbeats: who is there, what they
// work on, which policies they could run. It is not replicated. A new leader gives every node and
// every attempt the full time again.
type watch struct {
	env
	leaderless leaderless

	mu     sync.Mutex
	since  time.Time                   // Guarded by mu. When this node began to lead; zero while it does not.
	seen   map[state.NodeID]*seen      // Guarded by mu.
	lease  map[state.Attempt]time.Time // Guarded by mu. When an attempt was last heard of.
	tries  map[state.NodeID]try        // Guarded by mu. Of nodes that join with another incarnation than the cell knows.
	marks  []logMark                   // Guarded by mu. See behindLocked; by rising time.
	former state.NodeID                // Guarded by mu. The last other node that led.
	looked time.Time                   // Guarded by mu. When run last looked. Late itself, it cannot know who was silent.

	news chan struct{} // holds one token when a node has said something that the cell should know at once
}

type seen struct {
	at   time.Time
	beat wire.Heartbeat
}

func newWatch(e env) *watch { return &watch{env: e, news: make(chan struct{}, 1)} }

// run proposes the changes of node states and ends attempts that nobody works on.
func (w *watch) run(ctx context.Context) {
	for {
		select {
		case <-w.clock.After(w.times.Heartbeat):
		case <-w.news:
		case <-ctx.Done():
			return
		}
		leader, _ := w.log.Leader()
		w.leaderless.note(leader != "", w.clock.Now())
		w.follow(leader)
		if !w.lead(w.log.IsLeader()) {
			continue
		}
		view := w.log.View()
		cmds := slices.Concat(w.nodeStates(view), w.expired(view), w.disks(view), w.pauses(view))
		if len(cmds) == 0 {
			continue
		}
		if _, _, err := w.log.Propose(ctx, cmds...); err != nil {
			w.logger.Info("node states not proposed", "error", err)
		}
	}
}

// follow notes who leads, while another does.
func (w *watch) follow(leader state.NodeID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if leader != "" && leader != w.id {
		w.former = leader
	}
}

// lead notes whether this node leads, and starts afresh when that begins.
func (w *watch) lead(is bool) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case !is:
		w.since = time.Time{}
	case w.since.IsZero():
		w.since = w.clock.Now()
		w.seen, w.lease, w.marks = map[state.NodeID]*seen{}, map[state.Attempt]time.Time{}, nil
		w.tries = map[state.NodeID]try{}
	}
	return is
}

// heard records a heartbeat. That of another incarnation than the cell knows is ignored: it may be a second node with
// the same ID, and it would hide whether the known one is alive.
func (w *watch) heard(b *wire.Heartbeat) {
	node := w.log.View().Node(state.NodeID(b.Node))
	if node != nil && node.Incarnation != 0 && node.Incarnation != b.Incarnation {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.since.IsZero() {
		return
	}
	now := w.clock.Now()
	old, said := w.seen[state.NodeID(b.Node)], &seen{at: now, beat: *b}
	w.seen[state.NodeID(b.Node)] = said
	if old != nil && old.beat.Incarnation == b.Incarnation && old.beat.Number > b.Number { // it was overtaken
		said.beat.Unsealed, said.beat.Number = old.beat.Unsealed, old.beat.Number
	}
	if node != nil && (node.Refuses != b.Refuses || node.State == state.NodeUp && !b.Ready) {
		select {
		case w.news <- struct{}{}:
		default:
		}
	}
	for _, l := range b.Running {
		w.lease[state.Attempt{Op: state.OpID(l.Op), Fence: state.Fence(l.Fence)}] = now
	}
}

// nodeStates compares the heartbeats with the state.
func (w *watch) nodeStates(view *state.View) []state.Command {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.clock.Now()
	var cmds []state.Command
	view.Nodes(func(node *state.Node) bool {
		last, s := w.since, w.seen[node.ID]
		if s != nil {
			last = s.at
		}
		silent := now.Sub(last) > w.times.DownAfter
		current := !silent && s != nil && s.beat.Incarnation == node.Incarnation
		switch {
		case silent && node.ID == w.id: // this node's own loop is slow
		// The latter stops, or its disk failed.
		case silent && node.State != state.NodeDown, current && !s.beat.Ready && node.State == state.NodeUp:
			cmds = append(cmds, &state.SetNodeState{Node: node.ID, State: state.NodeDown, Seen: w.seenLocked(node)})
		case current && s.beat.Ready && node.State != state.NodeUp:
			cmds = append(cmds, &state.SetNodeState{Node: node.ID, State: state.NodeUp, Incarnation: node.Incarnation})
		}
		return true
	})
	return cmds
}

// expired ends the attempts whose executor is down or has not mentioned them for a lease. Another
// attempt gets a new fence, so the old executor can do no harm should it come back.
func (w *watch) expired(view *state.View) []state.Command {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.clock.Now()
	prompt := now.Sub(w.looked) < w.silence()
	w.looked = now
	lease := view.Settings.LeaseMicros.Duration()
	running := map[state.Attempt]bool{}
	var cmds []state.Command
	view.Running(func(o *state.Op) bool {
		if o.Executor == "" {
			return true
		}
		a := o.Attempt()
		running[a] = true
		if _, known := w.lease[a]; !known {
			w.lease[a] = now
		}
		node := view.Node(o.Executor)
		why := ""
		switch {
		case node == nil || node.State == state.NodeDown:
			why = fmt.Sprintf("%s went down", o.Executor)
		case w.restarted(node, o):
			why = fmt.Sprintf("%s restarted", o.Executor)
		case o.Kind == policies.KindSeal && prompt && w.silentLocked(o.Executor):
			why = fmt.Sprintf("%s has not been heard of for %s", o.Executor, w.silence())
		case now.Sub(w.lease[a]) > lease:
			why = fmt.Sprintf("%s did not work on it for %s", o.Executor, lease)
		case w.endpointDown(view, o):
			why = fmt.Sprintf("%s went down", o.Source)
		}
		if why != "" {
			cmds = append(cmds, &state.Finish{Op: o.ID, Fence: o.Fence, Outcome: expiry(o), Detail: why})
		}
		return true
	})
	for a := range w.lease {
		if !running[a] {
			delete(w.lease, a)
		}
	}
	return cmds
}

// silence is after how long an executor loses its seal, although it is not called down yet: until a seal ends nobody
// appends, and another attempt costs little.
func (w *watch) silence() time.Duration { return w.times.DownAfter / 2 }

// silent reports whether a node has not been heard of for so long, where this node leads.
func (w *watch) silent(id state.NodeID) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.silentLocked(id)
}

// silentLocked takes the leader that this node came after for silent sooner: the lead was most often lost because
// nobody had heard of it.
func (w *watch) silentLocked(id state.NodeID) bool {
	last, limit := w.since, w.silence()
	if s := w.seen[id]; s != nil {
		last = s.at
	} else if id == w.former {
		limit = 2 * w.times.Heartbeat
	}
	return id != w.id && !w.since.IsZero() && w.clock.Now().Sub(last) > limit
}

// restarted reports whether the executor has started anew since the attempt began.
func (w *watch) restarted(node *state.Node, o *state.Op) bool {
	return node.State == state.NodeJoining && len(o.Steps) > 0 && node.SinceMicros > o.Steps[len(o.Steps)-1].Micros
}

func (w *watch) endpointDown(view *state.View, o *state.Op) bool {
	source := view.Node(o.Source)
	return o.Copies() && (source == nil || source.State == state.NodeDown)
}

// expiry is how an expired attempt ends. A create whose primary is lost does not help the put that
// asked for it.
func expiry(o *state.Op) state.Outcome {
	if o.Kind == policies.KindCreate {
		return state.OutcomeFail
	}
	return state.OutcomeRetry
}

// compiledOn are the nodes that have said that they could run a policy.
func (w *watch) compiledOn(digest string, own bool) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var ids []string
	if own {
		ids = append(ids, string(w.id))
	}
	for id, s := range w.seen {
		if id != w.id && slices.Contains(s.beat.Compiled, digest) {
			ids = append(ids, string(id))
		}
	}
	slices.Sort(ids)
	return ids
}

// readySince reports whether a node has said since then that it is ready.
func (w *watch) readySince(id state.NodeID, since time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.seen[id]
	return id == w.id || s != nil && s.beat.Ready && s.at.After(since)
}

// alive reports whether a heartbeat of the node has come lately.
func (w *watch) alive(id state.NodeID) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.seen[id]
	return s != nil && w.clock.Now().Sub(s.at) < w.times.DownAfter
}

// ledFor reports whether this node has led for so long. Before, it does not know whom it would have heard of by now:
// what the state calls down may just be starting.
func (w *watch) ledFor(limit time.Duration) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.since.IsZero() && w.clock.Now().Sub(w.since) > limit
}

// serving are the nodes that were serving clients when they were last heard of, on the leader.
func (w *watch) serving() (ids []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for id, s := range w.seen {
		if s.beat.Serving && !w.silentLocked(id) {
			ids = append(ids, string(id))
		}
	}
	return ids
}

func (w *watch) applied(node *state.Node) state.Index {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.appliedLocked(node)
}

// seenLocked is what an entry that calls a node down says of how far its log went.
func (w *watch) seenLocked(node *state.Node) state.Index {
	if !w.proves() {
		return 0
	}
	return w.appliedLocked(node)
}

func (w *watch) appliedLocked(node *state.Node) state.Index {
	if s := w.seen[node.ID]; s != nil && s.beat.Incarnation == node.Incarnation {
		return state.Index(s.beat.Applied)
	}
	return 0
}

// try is when a process first asked to join as a node.
type try struct {
	incarnation uint64
	at          time.Time
}

// outlived reports whether the incarnation that the cell knows was heard of long after another one has first
// asked to join.
func (w *watch) outlived(id state.NodeID, incarnation uint64) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.since.IsZero() {
		return false
	}
	if w.tries[id].incarnation != incarnation {
		w.tries[id] = try{incarnation: incarnation, at: w.clock.Now()}
	}
	s := w.seen[id]
	return s != nil && s.at.Sub(w.tries[id].at) > duplicateAfter
}
