package node

import (
	"context"

	"github.com/datanode/datanode/node/datapath"
	"github.com/datanode/datanode/node/quota"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

// makeQuotas makes what holds this node to the quotas. The log is open.
func (n *Node) makeQuotas() {
	n.quotas = quota.New(quota.Options{
		View: n.log.View, IsLeader: n.log.IsLeader, CatchUp: n.catchUp, Secure: n.transport.Source() != nil, Logger: n.logger,
		Others:  func() []wire.Unsealed { return n.lead.Unsealed(n.id) },
		HearAll: func(ctx context.Context) { n.lead.HearAll(ctx, 0) },
	})
}

// makeData makes what serves puts and reads. The replicas and the quotas are made.
func (n *Node) makeData() {
	n.data = datapath.New(datapath.Options{
		ID: n.id, Log: n.log, Store: n.disks, Replicas: n.replicas, Reach: n.reach, Quotas: n.quotas,
		Share: n.share, Space: n.disks, Clock: n.clock, Logger: n.logger,
		StepLimit: n.time.stepLimit, SenderLimit: n.time.sender, CreatePatience: n.time.createPatience,
		IdleLook: n.time.idleLook, Tick: n.time.tick,
		CatchUp: n.catchUp, Works: n.hang.Err, InTouch: func() error { return n.member.CutOff() },
		Each: n.eachReplica, Create: n.submitter.Submit,
		Submit: func(ctx context.Context, s wire.Submission) error {
			_, err := n.submitter.Once(ctx, 0, s)
			return err
		},
		Connect: n.toNode, Relay: n.relay.pass, Asker: n.asker, Self: n.identity(),
		NoteMisuse: func() { n.submitter.CountWrongAnswer() },
	})
}

// catchUp waits until this node has applied all that the leader had committed when it was asked.
func (n *Node) catchUp(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, n.time.stepLimit)
	defer cancel()
	if n.log.IsLeader() {
		if err := n.log.VerifyLeader(ctx); err != nil {
			return err
		}
		if err := n.lead.Confirm(ctx); err != nil {
			return err
		}
		return n.log.WaitApplied(ctx, n.log.CommitIndex())
	}
	reply, err := n.member.BeatLeader(ctx)
	if err != nil {
		return err
	}
	return n.log.WaitApplied(ctx, state.Index(reply.Commit))
}
