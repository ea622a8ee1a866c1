package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// heartbeats keeps this node in its cell: it tells the leader what goes on here, joins when the
// leader does not know this incarnation, and finds out when the node has caught up with the log.
func (n *Node) heartbeats(ctx context.Context) {
	said := ""
	for {
		news, hangs, pause := n.disk.Status().Changed, n.hang.changed(), n.time.heartbeat
		err := n.beatOnce(ctx)
		if err == nil {
			now := n.now()
			n.beaten.Store(&now)
		}
		if refused := (*refusedError)(nil); errors.As(err, &refused) {
			n.fail(err)
			return
		}
		if err != nil && ctx.Err() == nil && err.Error() != said {
			said = err.Error() // once: the next attempt is due in a moment
			level := slog.LevelInfo
			if n.folder.AdmittedBy() == "" && len(n.cfg.Join) > 0 {
				level = slog.LevelWarn // nobody else will say why the node does not come up
			}
			n.logger.Log(ctx, level, "cannot reach the cell yet, trying again", "error", err)
		}
		if n.hangs() != nil {
			pause = min(pause, hangLook)
		}
		select {
		case <-n.after(pause):
		case <-hangs:
		case <-news: // the sooner the leader knows, the fewer replicas are given to a full disk
		case <-ctx.Done():
			return
		}
	}
}

// cutOffAfter is how long a node waits for a leader to answer it before it sends its clients elsewhere. A leader that
// is lost is replaced in less, and then waiting is right, since nobody else has one either.
const cutOffAfter = 8 * time.Second

// cutOff says that the leader has not answered this node for so long that it has called it down by now. Such a node
// must not keep its clients waiting: others may reach the leader.
func (n *Node) cutOff() error {
	at := n.beaten.Load()
	if at == nil || n.log.IsLeader() {
		return nil
	}
	silent := n.now().Sub(*at)
	if silent <= cutOffAfter {
		return nil
	}
	return wire.Errorf(0, wire.CodeUnavailable, "%s has had no answer of the cell's leader for %s; ask another node", n.id, silent.Round(time.Second))
}

func (n *Node) beatOnce(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, n.time.downAfter)
	defer cancel()
	if err := n.lookForOriginal(ctx); err != nil {
		return err
	}
	if n.log.IsLeader() {
		return n.beatAsLeader(ctx)
	}
	if err := n.hangs(); err != nil {
		n.hang.tell(ctx)
		return err
	}
	if leader, _ := n.log.Leader(); leader == "" {
		return n.join(ctx) // a new node has no log yet that could name the leader
	}
	reply, err := n.beatLeader(ctx)
	if err != nil {
		return err
	}
	if !reply.Known {
		return n.join(ctx)
	}
	return n.becomeReady(ctx, state.Index(reply.Commit))
}

// beatLeader sends a heartbeat to another node, which says where the log is if it leads.
func (n *Node) beatLeader(ctx context.Context) (wire.HeartbeatReply, error) {
	beat := n.beat()
	reply, err := askLeader[wire.HeartbeatReply](ctx, n, wire.OpHeartbeat, beat)
	if err == nil {
		n.quotas.Learned(beat.Number, reply.Unsealed)
	}
	n.noteServing(reply.Serving)
	return reply, n.compareReply(beat, reply, err)
}

func (n *Node) beat() *wire.Heartbeat {
	n.log.Now() // so that a node that comes to lead knows how much time has gone by
	disk := n.diskStatus()
	at := n.log.Chain()
	unsealed, number := n.quotas.Report()
	return &wire.Heartbeat{
		Node: n.cfg.ID, Addr: n.addr, Incarnation: n.incarnation, Applied: uint64(at.Index), Chain: at.Hash[:],
		// A node that drains stays ready: called down, the extents that its last calls write to would be sealed.
		Ready: n.life.isReady() && n.store.Failed() == nil && n.hangs() == nil, Running: n.exec.Leases(), Compiled: n.policies.Digests(),
		Level: uint8(state.LevelNow), Free: disk.Free, Total: disk.Total, Refuses: disk.Refuses,
		Serving: n.disks.Serves(), Unsealed: unsealed, Number: number,
	}
}

func (n *Node) beatAsLeader(ctx context.Context) error {
	n.lead.Heard(n.beat())
	n.noteServing(n.lead.Serving())
	if !n.life.isReady() {
		if err := n.log.Barrier(ctx); err != nil {
			return err
		}
	}
	view := n.log.View()
	if node := view.Node(n.id); view.Cell != "" && (node == nil || node.Incarnation != n.incarnation || node.Addr != n.addr || node.Level != state.LevelNow) {
		if _, err := n.lead.Admit(ctx, n.joinRequest()); err != nil {
			return err
		}
	}
	if view.Cell == "" {
		return nil // not founded yet
	}
	return n.becomeReady(ctx, n.log.CommitIndex())
}

// becomeReady settles the store once this node has applied all that was committed when the leader
// was asked. A node that comes back does not serve before that: what it holds may have been deleted.
func (n *Node) becomeReady(ctx context.Context, commit state.Index) error {
	if n.life.isReady() {
		return nil
	}
	if err := n.log.WaitApplied(ctx, commit); err != nil {
		return err
	}
	view := n.log.View()
	// Before this node holds anything, its folder says so: see checkDuplicate in package lead.
	if err := n.folder.Admit(view.Cell); err != nil {
		return err
	}
	if err := n.endAbstention(view); err != nil {
		return err
	}
	if node := view.Node(n.id); node != nil && node.Unproven {
		n.settleSlowly(view)
		return nil
	}
	if err := n.replicas.Reconcile(ctx, view); err != nil {
		return err
	}
	n.serves()
	return nil
}

func (n *Node) serves() {
	n.life.becomeReady()
	n.logger.Info("ready", "applied", uint64(n.log.AppliedIndex()))
}

// otherServes tells whether another voter is up.
func otherServes(view *state.View, self state.NodeID) (serves bool) {
	view.Nodes(func(node *state.Node) bool {
		serves = node.ID != self && node.Voter && node.State == state.NodeUp
		return !serves
	})
	return serves
}

// settleSlowly settles a store that has to be read in full, beside the heartbeats: without those the node would be
// called down. One that leads meanwhile gives that up, since a leader that does not serve admits nothing.
func (n *Node) settleSlowly(view *state.View) {
	if n.log.IsLeader() && otherServes(view, n.id) {
		if err := n.log.TransferLeadership(n.life.ctx); err != nil {
			n.logger.Info("leadership not handed on", "error", err)
		}
	}
	if !n.settling.CompareAndSwap(false, true) {
		return
	}
	n.life.run(func(ctx context.Context) {
		defer n.settling.Store(false)
		if err := n.replicas.Reconcile(ctx, view); err != nil {
			n.logger.Warn("store not compared yet, trying again", "error", err)
			return
		}
		n.serves()
	})
}

// endAbstention gives this node its vote again once its log is whole: that it was let in as it runs now is an entry
// that was proposed after it had opened its log.
func (n *Node) endAbstention(view *state.View) error {
	node := view.Node(n.id)
	if n.log.Abstains() == nil || node == nil || node.Incarnation != n.incarnation {
		return nil
	}
	return n.log.MadeWhole()
}

// refusedError is the cell's word that this node can never be part of it as it is.
type refusedError struct{ error }

func (e *refusedError) Unwrap() error { return e.error }

func (n *Node) joinRequest() wire.JoinRequest {
	return wire.JoinRequest{Node: n.cfg.ID, Addr: n.addr, Incarnation: n.incarnation, Cell: n.folder.AdmittedBy(), Level: uint8(state.LevelNow),
		Last: uint64(n.lastAtStart), Before: n.runsBefore}
}

// join asks the cell to know this incarnation at this address.
func (n *Node) join(ctx context.Context) error {
	req := n.joinRequest()
	var errs []error
	strangers, answered := 0, false
	for _, addr := range n.cellAddrs() {
		conn, err := n.transport.Conn(ctx, "", addr)
		switch {
		case err == nil:
			answered = true
			if err = n.joinAt(ctx, conn, req); err == nil {
				return nil
			}
			if code := wire.CodeOf(err); code == wire.CodeWrongCell || code == wire.CodePrecondition {
				return &refusedError{err}
			}
		case wire.CodeOf(err) == wire.CodeWrongCell:
			strangers++
		}
		errs = append(errs, err)
	}
	// One address that another cell uses now may only be out of date. When nobody else answers, it is
	// the folder that is wrong.
	if strangers > 0 && !answered {
		return &refusedError{fmt.Errorf("data folder %s belongs to cell %s, and only nodes of other cells answer: %w", n.cfg.Dir, n.cell(), errors.Join(errs...))}
	}
	return errors.Join(errs...)
}

func (n *Node) joinAt(ctx context.Context, conn *mux.Conn, req wire.JoinRequest) error {
	if leader, _ := n.log.Leader(); leader == "" {
		conn = n.leaderBy(ctx, conn)
	}
	reply, err := ask[wire.JoinReply](ctx, conn, wire.OpJoin, &req)
	if err != nil {
		return err
	}
	n.transport.Vouch(reply.Members)
	return n.folder.Admit(reply.Cell)
}

// leaderBy is a connection to the node that another takes for the leader, else the one to that other. A node joins at
// the leader itself; only an older build passes a join on that is not its own.
func (n *Node) leaderBy(ctx context.Context, conn *mux.Conn) *mux.Conn {
	reply, err := ask[wire.NodesReply](ctx, conn, wire.OpNodes, nil)
	for _, node := range reply.Nodes {
		if !node.Leader || node.ID == conn.Peer().Node {
			continue
		}
		leader, failed := n.transport.Conn(ctx, node.ID, node.Addr)
		if failed == nil {
			return leader
		}
		err = failed
	}
	if err != nil {
		n.logger.Debug("leader not found", "asked", conn.Peer().Node, "error", err)
	}
	return conn
}

// cellAddrs is where nodes of the cell may be found: the leader, those that the state or the group
// names, those named at the start. A node that has just started knows only the latter two.
func (n *Node) cellAddrs() []string {
	var addrs []string
	add := func(id state.NodeID, addr string) {
		if addr != "" && id != n.id && !slices.Contains(addrs, addr) {
			addrs = append(addrs, addr)
		}
	}
	add(n.log.Leader())
	n.log.View().Nodes(func(node *state.Node) bool {
		add(node.ID, node.Addr)
		return true
	})
	servers, err := n.log.Servers()
	if err != nil {
		n.logger.Debug("members of the group not known", "error", err)
	}
	for _, s := range servers {
		add(s.ID, s.Addr)
	}
	for _, p := range n.cfg.Bootstrap {
		add(state.NodeID(p.ID), p.Addr)
	}
	for _, addr := range n.cfg.Join {
		add("", addr)
	}
	return addrs
}
