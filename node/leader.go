package node

import (
	"github.com/datanode/datanode/node/lead"
	"github.com/datanode/datanode/node/transport"
	"github.com/datanode/datanode/raftlog"
	"github.com/datanode/datanode/raftlog/state"
)

// newLeader is what this node does when it leads, once its log is open.
func (n *Node) newLeader(bootstrap []raftlog.Server) *lead.Leader {
	return lead.New(lead.Options{
		Node: n.id, Addr: n.addr, Incarnation: n.incarnation, Secure: n.transport.Source() != nil,
		Log: n.log, Modules: n.policies, Quotas: n.quotas, Divergences: n.divergences,
		Settings: n.cfg.Settings, Bootstrap: bootstrap, Ready: n.life.isReady,
		Identity: func(id state.NodeID) state.Identity { return transport.NodeCaller(string(id)).ID() },
		WhoIsAt:  n.whoIsAt, CatchUpTo: n.relay.reach, Reached: n.reached,
		Audit: n.audit, Fail: n.fail,
		Clock: n.clock, Logger: n.logger,
		Times: lead.Times{
			Tick: n.time.tick, Heartbeat: n.time.heartbeat, DownAfter: n.time.downAfter, StepLimit: n.time.stepLimit,
		},
	})
}
