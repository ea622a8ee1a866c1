package node

import (
	"context"

	"github.com/datanode/datanode/node/api"
	"github.com/datanode/datanode/node/lead"
	"github.com/datanode/datanode/node/submitter"
	"github.com/datanode/datanode/node/transport"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// makeSubmitter makes what submits the cell's own operations, and passes on those of clients. The log is open.
func (n *Node) makeSubmitter() {
	toLeader := func(ctx context.Context) (*mux.Conn, error) { return n.member.ToLeader(ctx) }
	n.relay = &relay{id: n.id, log: n.log, toLeader: toLeader, toNode: n.toNode}
	n.submitter = submitter.New(submitter.Options{
		Node: n.id, Identity: n.identity(), Sharer: nodeSharer(n.cfg.ID), IsLeader: n.log.IsLeader,
		Submit: func(ctx context.Context, subs []*lead.Submission) ([]wire.Submitted, error) {
			return n.lead.Submit(ctx, subs)
		},
		OpenSession: func(ctx context.Context, client string, owner state.Identity) (uint64, error) {
			return api.OpenSession(ctx, n.log, client, owner)
		},
		ToLeader: toLeader, CutOff: func() error { return n.member.CutOff() }, Clock: n.clock, Logger: n.logger,
	})
}

// identity is who this node is to the others, and to itself when it leads: nobody in plaintext.
func (n *Node) identity() state.Identity {
	if n.transport.Source() == nil {
		return ""
	}
	return transport.NodeCaller(n.cfg.ID).ID()
}
