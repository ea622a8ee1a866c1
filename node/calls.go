package node

import (
	"context"
	"path/filepath"

	"github.com/datanode/datanode/node/api"
	"github.com/datanode/datanode/node/health"
	"github.com/datanode/datanode/node/modules"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// makeModules makes what keeps the policies and asks them. The log is open.
func (n *Node) makeModules() {
	n.policies = modules.New(modules.Options{
		Node: n.id, Dir: filepath.Join(n.cfg.Dir, "policies"), FS: n.cfg.FS, Log: n.log, Host: n.cfg.Policies,
		DefaultModule: n.cfg.DefaultModule, Fetch: n.fetchModule,
		CompiledOn: func(digest string) []string { return n.lead.CompiledOn(digest) },
		Now:        n.clock.Now, After: n.clock.After, Tick: n.time.tick, Logger: n.logger,
	})
}

// fetchModule gets the bytes of a policy's module from another node.
func (n *Node) fetchModule(ctx context.Context, from state.NodeID, digest string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, n.time.stepLimit)
	defer cancel()
	conn, err := n.toNode(ctx, from)
	if err != nil {
		return nil, err
	}
	return api.FetchModule(ctx, conn, digest)
}

// makeAPI makes what serves the calls that look and submit. All that it looks at is made.
func (n *Node) makeAPI() {
	n.api = api.New(api.Options{
		Node: n.id, Version: n.cfg.Version, Log: n.log, Store: n.disks, Disks: n.disks.Describe, ChangeDisk: n.changeDisk,
		Modules: n.policies, Replicas: n.replicas,
		Scrub: n.scrub, Quotas: n.quotas, Lead: n.lead, Divergences: n.divergences, Turns: n.turns, Sharer: n.sharer,
		Relay: n.relay.pass, CatchUp: n.catchUp, FreshExtent: n.data.FreshExtent, Stored: n.data.Stored,
		CheckDeletes: n.sessions.checkDeletes,
		Ready:        n.life.isReady, Disk: n.diskStatus, Health: n.health, Conns: n.conns, Voters: (&voterCheck{
			id: n.id, log: n.log, transport: n.transport, beat: n.member.Beat, logger: n.logger,
		}).list,
		Draining: n.life.drains, Stopped: n.life.ctx.Done(), Clock: n.clock, Logger: n.logger,
	})
}

// health is what this node's checks find, for who asks over the wire.
func (n *Node) health() []wire.HealthCheck {
	ctx, cancel := context.WithTimeout(n.life.ctx, health.Limit)
	defer cancel()
	all := []wire.HealthCheck{}
	for _, found := range n.checks(ctx) {
		all = append(all, wire.HealthCheck{Name: found.Name, Level: found.Level, Detail: found.Detail})
	}
	return all
}

// conns are the connections of this node.
func (n *Node) conns() []wire.Connection {
	var all []wire.Connection
	for _, conn := range n.transport.Table().Scan() {
		all = append(all, conn.Describe())
	}
	return all
}

// asker is who a call is made for, as it is in the log.
func (n *Node) asker(c *mux.ServerCall) state.Identity {
	return n.log.View().Named(state.Identity(c.Asker()))
}
