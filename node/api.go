package node

import (
	"context"

	"github.com/datanode/datanode/node/describe"
	"github.com/datanode/datanode/node/fair"
	"github.com/datanode/datanode/node/lead"
	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// reach waits until this node has applied what the caller has seen already: a client finds what it
// has just submitted, whichever node it asks.
func (n *Node) reach(ctx context.Context, index state.Index) error {
	if index <= n.log.AppliedIndex() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, catchUpWait)
	defer cancel()
	return n.log.WaitApplied(ctx, index)
}

// relayToLeader passes a client's call on. One that a node has passed on already is not passed on
// again: two nodes that disagree about the leader would send it round.
func (n *Node) relayToLeader(ctx context.Context, c *mux.ServerCall) error {
	if c.Peer().Node != "" && !fromJoiner(c) {
		return wire.Errorf(c.Op(), wire.CodeUnavailable, "%s is not the leader", n.id)
	}
	conn, err := n.toLeader(ctx)
	if err != nil {
		return err
	}
	return mux.Relay(ctx, c, conn)
}

// fromJoiner tells whether a call is a join by the node itself, which does not know who leads.
func fromJoiner(c *mux.ServerCall) bool {
	var req wire.JoinRequest
	return c.Op() == wire.OpJoin && c.Decode(&req) == nil && req.Node == c.Peer().Node
}

func (n *Node) relayTo(ctx context.Context, c *mux.ServerCall, id state.NodeID) error {
	if c.Peer().Node != "" {
		return wire.Errorf(c.Op(), wire.CodeUnavailable, "%s is not %s", n.id, id)
	}
	conn, err := n.toNode(ctx, id)
	if err != nil {
		return err
	}
	return mux.Relay(ctx, c, conn)
}

// atNode passes a call on that names another node to look at. It tells whether it has.
func (n *Node) atNode(ctx context.Context, c *mux.ServerCall, node string) (relayed bool, err error) {
	if node == "" || node == string(n.id) {
		return false, nil
	}
	return true, n.relayTo(ctx, c, state.NodeID(node))
}

func (n *Node) serveSession(ctx context.Context, c *mux.ServerCall, req wire.SessionRequest) error {
	id, err := n.openSession(ctx, req.Client, n.asker(c))
	if err != nil {
		return err
	}
	return c.Reply(&wire.SessionReply{Session: id}, nil)
}

func (n *Node) openSession(ctx context.Context, client string, owner state.Identity) (uint64, error) {
	results, _, err := n.log.Propose(ctx, &state.OpenSession{Client: wire.Clip(client, 64), AskedBy: named(n.log.View(), owner)})
	if err != nil {
		return 0, err
	}
	return uint64(results[0].Session), nil
}

// asker is who a call is made for, as it stands in the log: nothing while a node of the cell would not understand it.
func (n *Node) asker(c *mux.ServerCall) state.Identity {
	return named(n.log.View(), state.Identity(c.Asker()))
}

// named is who, where every node of the cell understands entries that say so.
func named(view *state.View, who state.Identity) state.Identity {
	if who == "" || !allNamed(view) {
		return ""
	}
	return who
}

func allNamed(view *state.View) bool {
	return view.AllReach(state.LevelNamed)
}

// maxSubmissions bounds one submit.
const maxSubmissions = 1024

func (n *Node) serveSubmit(ctx context.Context, c *mux.ServerCall, req wire.SubmitRequest) error {
	if err := n.checkDeletes(c, req.OnlyDeletes()); err != nil {
		return err
	}
	if len(req.Submit) > maxSubmissions {
		return wire.Errorf(c.Op(), wire.CodeInvalid, "%d submissions at once; at most %d", len(req.Submit), maxSubmissions)
	}
	origin := policies.OriginUser
	if c.Peer().Node != "" && req.Cell && !req.DryRun {
		origin = policies.OriginCell
	}
	subs := make([]*lead.Submission, len(req.Submit))
	asker, sharer := state.Identity(c.Asker()), n.sharer(c)
	for i, s := range req.Submit {
		if err := checkOwner(c.Op(), &req, s.Owner); err != nil {
			return err
		}
		subs[i] = &lead.Submission{
			Submission: s, Session: state.SessionID(req.Session), Origin: origin, Asker: asker, Force: req.Force, Sharer: sharer,
		}
	}
	reply := wire.SubmitReply{}
	var err error
	if req.DryRun {
		done, err := n.turn(ctx, c, fair.WorkTrials)
		if err != nil {
			return err
		}
		defer done()
		reply.Results = n.lead.DryRun(ctx, subs)
	} else if reply.Results, err = n.lead.Submit(ctx, subs); err != nil {
		return err
	}
	return c.Reply(&reply, nil)
}

func (n *Node) serveCancel(ctx context.Context, c *mux.ServerCall, req wire.CancelRequest) error {
	id, err := parseOp(req.Op)
	if err != nil {
		return err
	}
	who := n.asker(c)
	if err := n.lead.Propose(ctx, &state.Cancel{Op: id, Note: "cancelled by " + describe.Person(who), AskedBy: who}); err != nil {
		return err
	}
	return n.replyOp(ctx, c, id)
}

func (n *Node) serveReorder(ctx context.Context, c *mux.ServerCall, req wire.ReorderRequest) error {
	id, err := parseOp(req.Op)
	if err != nil {
		return err
	}
	cmd := &state.Reorder{Op: id, AskedBy: n.asker(c)}
	if req.Before != "" {
		if cmd.Before, err = parseOp(req.Before); err != nil {
			return err
		}
	}
	if err := n.lead.Propose(ctx, cmd); err != nil {
		return err
	}
	return n.replyOp(ctx, c, id)
}

func (n *Node) serveSetting(ctx context.Context, c *mux.ServerCall, req wire.SettingRequest) error {
	if err := n.lead.CheckSetting(ctx, req.Key, req.Value); err != nil {
		return err
	}
	if err := n.lead.Propose(ctx, &state.Set{Key: req.Key, Value: req.Value, AskedBy: n.asker(c)}); err != nil {
		return err
	}
	if req.Key == state.KeyQuotas {
		n.lead.HearAll(ctx, n.log.CommitIndex()) // a node that does not know of a quota yet would store beyond it
	}
	return c.Reply(nil, nil)
}

func parseOp(s string) (state.OpID, error) {
	id, err := state.ParseOpID(s)
	if err != nil {
		return 0, wire.Errorf(0, wire.CodeInvalid, "%v", err)
	}
	return id, nil
}
