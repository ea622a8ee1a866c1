package node

import (
	"context"
	"crypto/rand"
	"encoding/hex"

	"github.com/datanode/datanode/node/schedule"
	"github.com/datanode/datanode/raftlog/state"
)

// lead is the leader's loop: it starts what may start, again at every change of the state. On other
// nodes it does nothing but wait to become the leader.
func (n *Node) lead(ctx context.Context) {
	var ages aging
	var zones unknownZones
	for {
		ages.round(ctx, n) // first, so that what it changes does not wake this loop
		changed, elected := n.log.Changed(), n.log.LeaderChanged()
		if n.log.IsLeader() && n.confirmLead(ctx) == nil {
			n.foundCell(ctx)
			zones.round(n)
			if !n.startRound(ctx) {
				changed = nil // all was refused: proposing it again at once would only fill the log
			}
		}
		select {
		case <-changed:
		case <-elected:
		case <-n.after(n.time.tick): // a pause between attempts ends without a change
		case <-ctx.Done():
			return
		}
	}
}

// confirmLead makes sure that this node, which leads, has applied all that its predecessors had
// agreed on. Until then its state, and what it thinks is committed, may be older than what another
// node has acknowledged: it must neither refuse by it nor tell a node that it has caught up.
func (n *Node) confirmLead(ctx context.Context) error {
	term := n.log.Term()
	if n.confirmedTerm.Load() == term {
		return nil
	}
	if err := n.log.Barrier(ctx); err != nil {
		return err
	}
	n.confirmedTerm.Store(term) // a node leads at most once in a term
	return nil
}

// foundCell makes the first entries of a new cell: its name, its settings, its policy.
func (n *Node) foundCell(ctx context.Context) {
	if n.log.View().Cell != "" {
		return
	}
	name := make([]byte, 8)
	if _, err := rand.Read(name); err != nil {
		n.fail(err)
		return
	}
	cmds := []state.Command{&state.Genesis{Cell: "c-" + hex.EncodeToString(name)}}
	for key, value := range n.cfg.Settings {
		cmds = append(cmds, &state.Set{Key: key, Value: value})
	}
	for _, p := range n.cfg.Bootstrap {
		cmds = append(cmds, &state.Join{Node: state.NodeID(p.ID), Addr: p.Addr, Voter: true})
	}
	cmds = append(cmds, n.policies.Seed()...)
	results, _, err := n.log.Propose(ctx, cmds...)
	if err != nil {
		n.logger.Info("cell not founded yet", "error", err)
		return
	}
	for i, res := range results {
		if res.Err != nil {
			n.logger.Error("founding entry refused", "command", cmds[i].CommandType().String(), "error", res.Err)
		}
	}
}

// startRound proposes the starts and the needless copies of one look at the queue. It answers false
// when there were some and none was carried out.
func (n *Node) startRound(ctx context.Context) bool {
	view := n.log.View()
	n.rescore(ctx, schedule.AtTime(view, n.log.Now()))
	round := schedule.Next(view, n.moment())
	var cmds []state.Command
	for _, c := range round.Needless {
		cmds = append(cmds, c)
	}
	for _, s := range round.Starts {
		cmds = append(cmds, s)
	}
	if len(cmds) == 0 {
		return true
	}
	results, _, err := n.log.Propose(ctx, cmds...)
	if err != nil {
		n.logger.Info("starts not proposed", "error", err)
		return false
	}
	carriedOut := false
	for i, res := range results {
		carriedOut = carriedOut || res.Err == nil
		if res.Err != nil && !res.Stale {
			n.logger.Error("start refused", "command", cmds[i].CommandType().String(), "error", res.Err)
		}
	}
	return carriedOut
}
