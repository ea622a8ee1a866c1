package node

import (
	"context"
	"path/filepath"

	"github.com/datanode/datanode/node/fair"
	"github.com/datanode/datanode/node/reclaim"
	"github.com/datanode/datanode/node/replica"
	"github.com/datanode/datanode/node/report"
	"github.com/datanode/datanode/node/scrub"
	"github.com/datanode/datanode/raftlog"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// makeReplicas makes what works on this node's replicas. The store and the log are open.
func (n *Node) makeReplicas() {
	n.proposer = report.NewProposer(report.Options{
		Log: n.log, ToLeader: func(ctx context.Context) (*mux.Conn, error) { return n.member.ToLeader(ctx) },
		Limit: n.time.stepLimit, Check: n.checkReports,
	})
	n.reports = report.NewQueue(n.proposer.Propose, n.clock)
	n.drops = report.NewQueue(n.proposer.Propose, n.clock)
	n.reach = replica.NewReachability(replica.ReachabilityOptions{
		Log: n.log, Clock: n.clock, StepLimit: n.time.stepLimit, ToNode: n.toNode,
	})
	n.replicas = replica.New(n.replicaOptions())
	n.exec = replica.NewExecutor(replica.ExecutorOptions{
		ID: n.id, Log: n.log, Store: n.disks, Clock: n.clock, Logger: n.logger, Tick: n.time.tick,
		Ready: n.life.isReady, Finishes: n.reports, Drops: n.drops,
		CarryOut: n.replicas.CarryOut, ForgetFences: n.replicas.ForgetFences,
	})
	n.scrub = scrub.New(n.scrubOptions())
	n.reclaim = reclaim.New(reclaim.Options{
		ID: n.id, Store: n.disks, Clock: n.clock, Logger: n.logger, Ready: n.life.caughtUp, View: n.log.View,
		Busy: func() bool { return n.serving.Load() > 0 }, AskRewrite: n.askRewrite,
	})
	n.makeDrainer()
}

func (n *Node) replicaOptions() replica.Options {
	return replica.Options{
		ID: n.id, Log: n.log, Store: n.disks, Reach: n.reach, Disk: n.share, Memory: n.copyMemory,
		Clock: n.clock, Logger: n.logger,
		LagLimit: n.time.lagLimit, DownAfter: n.time.downAfter,
		Propose: n.proposer.Propose, Reports: n.reports, TakeSpace: n.disks.Take, Lost: n.disks.Lost,
		AskSeal:  func(id state.ExtentID) { n.data.AskSeal(id) },
		Silent:   func(id state.NodeID) bool { return n.lead.Silent(id) },
		Verified: func(id state.ExtentID) { n.scrub.Note(id) },
		TakeTurn: n.turns[fair.WorkSums].Take,
		Sharer:   n.sharer,
		Self:     replica.Requester{Sharer: nodeSharer(n.cfg.ID)},
	}
}

func (n *Node) scrubOptions() scrub.Options {
	return scrub.Options{
		ID: n.id, Store: n.disks, Clock: n.clock, Logger: n.logger, Ready: n.life.caughtUp, FS: n.cfg.FS,
		// In the store's folder, so that a store that is replaced by another takes its dates along.
		File: filepath.Join(n.cfg.Dir, "store", "scrubbed"),
		View: n.log.View, VerifyLog: n.log.VerifyPaced, LogDamaged: func(bad *raftlog.BadEntry) { n.logDamaged(bad) },
		Busy:    func() bool { return n.serving.Load() > 0 },
		Suspect: func(id state.ExtentID, why string) { n.replicas.NoteSuspect(id, n.id, why) },
		Unread:  func(e *state.Extent, err error) { n.replicas.NoteUnread(e, n.id, err) },
	}
}

// askRewrite asks the cell for the turn to rewrite this node's replica of an extent.
func (n *Node) askRewrite(ctx context.Context, id state.ExtentID) (state.OpID, error) {
	ctx, cancel := context.WithTimeout(ctx, n.time.stepLimit)
	defer cancel()
	got, err := n.submitter.Once(ctx, 0, wire.Submission{
		Kind: "punch", Extent: uint64(id), Node: string(n.id),
	})
	if err != nil {
		return 0, err
	}
	return state.ParseOpID(got.Op)
}

// checkReports refuses what a node may not report, on the leader, and what came in the session of another class.
func (n *Node) checkReports(ctx context.Context, c *mux.ServerCall, cmds []state.Command) error {
	if err := n.lead.MayPropose(ctx, c, cmds); err != nil {
		return err
	}
	return n.sessions.checkDeletes(c, report.OnlyGone(cmds))
}
