package node

import (
	"cmp"
	"context"

	"github.com/datanode/datanode/node/api"
	"github.com/datanode/datanode/node/datapath"
	"github.com/datanode/datanode/node/failure"
	"github.com/datanode/datanode/node/fair"
	"github.com/datanode/datanode/node/lead"
	"github.com/datanode/datanode/node/replica"
	"github.com/datanode/datanode/node/report"
	"github.com/datanode/datanode/node/transport"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// handler serves one call.
type handler func(context.Context, *mux.ServerCall) error

// decoded is a handler of calls whose body is a Req.
func decoded[Req any](serve func(context.Context, *mux.ServerCall, Req) error) handler {
	return func(ctx context.Context, c *mux.ServerCall) error {
		var req Req
		if err := c.Decode(&req); err != nil {
			return err
		}
		return serve(ctx, c, req)
	}
}

// method is a handler that is a method of a part of the node: one that may be made after the routes.
func method[Part, Req any](part *Part, serve func(Part, context.Context, *mux.ServerCall, Req) error) handler {
	return decoded(func(ctx context.Context, c *mux.ServerCall, req Req) error { return serve(*part, ctx, c, req) })
}

// noBody is a handler as method makes it, of calls without a body.
func noBody[Part any](part *Part, serve func(Part, context.Context, *mux.ServerCall) error) handler {
	return func(ctx context.Context, c *mux.ServerCall) error { return serve(*part, ctx, c) }
}

// route says who serves a kind of call, and when.
type route struct {
	serve  handler
	leader bool // only the leader: other nodes pass the call on
	early  bool // also before this node has caught up with the log
	room   bool // only while this node has room for more
	bytes  bool // brings or takes a client's bytes: what can wait makes room for it
}

// makeRoutes is who serves what. It is made once: each route has a closure.
func (n *Node) makeRoutes() map[wire.OpType]route {
	return map[wire.OpType]route{
		wire.OpPut:           {serve: method(&n.data, (*datapath.Path).ServePut), room: true, bytes: true},
		wire.OpAppend:        {serve: method(&n.data, (*datapath.Path).ServePut), room: true, bytes: true},
		wire.OpRead:          {serve: method(&n.data, (*datapath.Path).ServeRead), bytes: true},
		wire.OpVerify:        {serve: method(&n.api, (*api.API).ServeVerify)},
		wire.OpReplicaCreate: {serve: method(&n.replicas, (*replica.Replicas).ServeCreate), room: true},
		wire.OpReplicaAppend: {serve: method(&n.replicas, (*replica.Replicas).ServeAppend), room: true, bytes: true},
		wire.OpReplicaFence:  {serve: method(&n.replicas, (*replica.Replicas).ServeFence)},
		wire.OpReplicaRead:   {serve: method(&n.replicas, (*replica.Replicas).ServeRead)},
		wire.OpReplicaSum:    {serve: method(&n.replicas, (*replica.Replicas).ServeSum)},
		wire.OpReach:         {serve: serveReach},
		wire.OpInventory:     {serve: n.inTurn(fair.WorkLists, noBody(&n.api, (*api.API).ServeInventory)), early: true},
		wire.OpHealth:        {serve: method(&n.api, (*api.API).ServeHealth), early: true},
		wire.OpScrub:         {serve: method(&n.api, (*api.API).ServeScrub), early: true},
		wire.OpDisks:         {serve: method(&n.api, (*api.API).ServeDisks), early: true},
		wire.OpDiskChange:    {serve: method(&n.api, (*api.API).ServeDiskChange), early: true},

		// What changes something through the log.
		wire.OpSession:        {serve: n.inTurn(fair.WorkSessions, method(&n.api, (*api.API).ServeSession)), leader: true},
		wire.OpSubmit:         {serve: method(&n.api, (*api.API).ServeSubmit), leader: true},
		wire.OpPunch:          {serve: method(&n.api, (*api.API).ServePunch), leader: true},
		wire.OpUndelete:       {serve: method(&n.api, (*api.API).ServeUndelete), leader: true},
		wire.OpCancel:         {serve: method(&n.api, (*api.API).ServeCancel), leader: true},
		wire.OpReorder:        {serve: method(&n.api, (*api.API).ServeReorder), leader: true},
		wire.OpNodeRemove:     {serve: method(&n.lead, (*lead.Leader).ServeNodeRemove), leader: true},
		wire.OpSettings:       {serve: noBody(&n.api, (*api.API).ServeSettings), leader: true}, // a change is seen at once
		wire.OpSetting:        {serve: method(&n.api, (*api.API).ServeSetting), leader: true},
		wire.OpPolicyLoad:     {serve: method(&n.api, (*api.API).ServePolicyLoad), leader: true},
		wire.OpPolicyActivate: {serve: method(&n.api, (*api.API).ServePolicyActivate), leader: true},
		wire.OpPolicyRollback: {serve: noBody(&n.api, (*api.API).ServePolicyRollback), leader: true},
		wire.OpPolicies:       {serve: noBody(&n.api, (*api.API).ServePolicies), leader: true}, // it knows who compiled it
		wire.OpPause:          {serve: method(&n.lead, (*lead.Leader).ServePause), leader: true},
		wire.OpBalance:        {serve: method(&n.api, (*api.API).ServeBalance)},
		wire.OpStop:           {serve: method(&n.api, (*api.API).ServeStop), leader: true}, // it hears who is there
		wire.OpPropose:        {serve: method(&n.proposer, (*report.Proposer).Serve), leader: true, early: true},
		wire.OpJoin:           {serve: method(&n.lead, (*lead.Leader).ServeJoin), leader: true, early: true},
		wire.OpHeartbeat:      {serve: method(&n.lead, (*lead.Leader).ServeHeartbeat), early: true},

		// What only looks. It answers from this node's state, which may be behind.
		wire.OpOps:          {serve: n.inTurn(fair.WorkLists, method(&n.api, (*api.API).ServeOps)), early: true},
		wire.OpBlocked:      {serve: n.inTurn(fair.WorkLists, method(&n.api, (*api.API).ServeBlocked)), early: true},
		wire.OpShowOp:       {serve: method(&n.api, (*api.API).ServeShowOp), early: true},
		wire.OpWait:         {serve: method(&n.api, (*api.API).ServeWait), early: true},
		wire.OpExtents:      {serve: method(&n.api, (*api.API).ServeExtents), early: true},
		wire.OpNodes:        {serve: noBody(&n.api, (*api.API).ServeNodes), early: true},
		wire.OpStatus:       {serve: noBody(&n.api, (*api.API).ServeStatus), early: true},
		wire.OpConns:        {serve: n.inTurn(fair.WorkLists, noBody(&n.api, (*api.API).ServeConns)), early: true},
		wire.OpPolicyFetch:  {serve: method(&n.api, (*api.API).ServePolicyFetch), early: true},
		wire.OpLogList:      {serve: method(&n.api, (*api.API).ServeLogList), early: true},
		wire.OpLogVerify:    {serve: method(&n.api, (*api.API).ServeLogVerify), early: true},
		wire.OpLogChain:     {serve: method(&n.api, (*api.API).ServeLogChain), early: true},
		wire.OpLogSnapshots: {serve: method(&n.api, (*api.API).ServeLogSnapshots), early: true},
		wire.OpLogSnapshot:  {serve: method(&n.api, (*api.API).ServeLogSnapshot), early: true},
	}
}

// serveReach answers a node that only wants the log to have been applied here as far as it says, which every call waits
// for.
func serveReach(_ context.Context, c *mux.ServerCall) error { return c.Reply(nil, nil) }

// serveCall answers one call, whoever it is from. An error becomes the typed reply.
func (n *Node) serveCall(ctx context.Context, c *mux.ServerCall, who transport.Caller) {
	if err := n.dispatch(ctx, c, who); err != nil {
		typed := failure.Of(c.Op(), n.id, err)
		n.transport.Denied().Note(c.Op().String(), who.Describe(c.Peer().Node), typed)
		if typed.Code == wire.CodeInternal {
			n.logger.Error("call failed", "op", c.Op().String(), "error", err)
		}
		if err := c.Fail(typed); err != nil {
			n.logger.Debug("failure not delivered", "op", c.Op().String(), "error", err)
		}
	}
}

func (n *Node) dispatch(ctx context.Context, c *mux.ServerCall, who transport.Caller) error {
	r, ok := n.routes[c.Op()]
	if !ok {
		return wire.Errorf(c.Op(), wire.CodeProtocol, "this version does not serve %s", c.Op())
	}
	if err := n.sessions.check(c); err != nil {
		return err
	}
	if err := cmp.Or(who.MayCall(c), namesNode(c)); err != nil {
		return err
	}
	switch {
	case n.life.isDraining():
		return wire.Errorf(c.Op(), wire.CodeUnavailable, "%s is stopping; ask another node", n.id)
	case r.leader && !n.log.IsLeader():
		return n.relay.passToLeader(ctx, c)
	case !r.early && !n.life.isReady():
		return wire.Errorf(c.Op(), wire.CodeUnavailable,
			"%s is catching up with the log; ask another node, or again in a moment", n.id)
	}
	if r.room {
		// Before the log: a node whose disk is full may not be able to follow it, and the caller has better to do
		// than to wait for it.
		if err := n.disks.Take(c.Op(), len(c.Raw())); err != nil {
			return err
		}
	}
	if err := n.relay.reach(ctx, state.Index(c.MinIndex())); err != nil {
		return err
	}
	if r.bytes {
		n.serving.Add(1)
		n.share.Client()
		defer n.serving.Add(-1)
		defer n.share.Client()
	}
	return r.serve(ctx, c)
}
