package logs

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/datanode/datanode/node/describe"
	"github.com/datanode/datanode/node/schedule"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

// present is the cell as it is at the end of what was read, or, of a node that runs, now.
type present struct {
	index  uint64
	micros int64
	past   *Past // nil where it is not known
	node   *Node // asked where past is nil, and for what only a leader sees
	nodes  []wire.Node
}

func presentOf(ctx context.Context, s Source, c *collector) (*present, error) {
	p := &present{index: c.index, micros: c.micros}
	if node, ok := s.(Node); ok {
		status, err := node.Client.Status(ctx)
		if err != nil {
			return nil, err
		}
		p.node, p.index, p.micros = &node, status.Applied, time.Now().UnixMicro()
		p.nodes, err = node.Client.Nodes(ctx)
		return p, err
	}
	view := (*state.View)(nil)
	if c.last != nil {
		view = c.last.Snapshot()
	} else if folder, ok := s.(*Folder); ok {
		if at, err := folder.StateAt(0); err == nil { // what is damaged is said by log verify
			view = at
		}
	}
	if view == nil {
		return p, nil
	}
	p.past = &Past{view, schedule.LookAt(view, schedule.Moment{Cell: view.NowMicros})}
	p.index, p.micros = p.past.Index(), p.past.Micros()
	for n := range p.past.Nodes() {
		p.nodes = append(p.nodes, n)
	}
	return p, nil
}

// op is an operation as it is, false where it is not kept any more.
func (p *present) op(ctx context.Context, id string) (wire.Op, bool, error) {
	switch {
	case p.node != nil:
		o, err := p.node.Client.Op(ctx, id)
		if notFound(err) {
			return o, false, nil
		}
		return o, err == nil, err
	case p.past != nil:
		if parsed, err := state.ParseOpID(id); err == nil {
			o, ok := p.past.Op(parsed)
			return o, ok, nil
		}
	}
	return wire.Op{}, false, nil
}

func (p *present) extent(ctx context.Context, id uint64) (wire.Extent, bool, error) {
	switch {
	case p.node != nil:
		e, err := p.node.Client.Extent(ctx, id)
		if notFound(err) {
			return e, false, nil
		}
		return e, err == nil, err
	case p.past != nil:
		if e := p.past.view.Extent(state.ExtentID(id)); e != nil {
			return describe.Extent(p.past.view, e), true, nil
		}
	}
	return wire.Extent{}, false, nil
}

// setting is the value of a setting, empty where it is not known.
func (p *present) setting(ctx context.Context, key string) (string, error) {
	var all []wire.Setting
	switch {
	case p.node != nil:
		var err error
		if all, err = p.node.Client.Settings(ctx); err != nil {
			return "", err
		}
	case p.past != nil:
		for s := range p.past.Settings() {
			all = append(all, s)
		}
	}
	i := slices.IndexFunc(all, func(s wire.Setting) bool { return s.Key == key })
	if i < 0 {
		return "", nil
	}
	return all[i].Value, nil
}

// complete fills in what the cell says of the operations and the entries do not.
func (c *collector) complete(ctx context.Context, now *present) error {
	if c.q.Op != 0 && c.accounts[c.q.Op] == nil {
		o, ok, err := now.op(ctx, c.q.Op.String())
		if err != nil || !ok {
			return err
		}
		c.accounts[c.q.Op] = accountOf(o)
	}
	if c.q.Extent != 0 && now.node != nil {
		for o, err := range now.node.Client.Ops(ctx, wire.OpsRequest{Extent: c.q.Extent}) {
			if err != nil {
				return err
			}
			if id, err := state.ParseOpID(o.ID); err == nil && c.accounts[id] == nil {
				c.accounts[id] = accountOf(o)
			}
		}
	}
	for id, a := range c.accounts {
		if a.admit == nil || a.State == "refused" || a.State == "merged" || a.State == "answered before" {
			continue
		}
		o, ok, err := now.op(ctx, id.String())
		if err != nil {
			return err
		}
		if ok {
			a.complete(o)
		}
	}
	return nil
}

// complete fills in what the cell says of an operation.
func (a *Account) complete(o wire.Op) {
	if a.Ended == 0 {
		a.State, a.Ended, a.By, a.Detail = o.State, o.Ended, o.By, o.Detail
		if n := len(a.Attempts); n > 0 && o.Ended != 0 && a.Attempts[n-1].Ended == 0 {
			at, last := &a.Attempts[n-1], o.Steps[len(o.Steps)-1]
			at.Ended, at.EndIndex, at.Outcome, at.Detail = o.Ended, last.Index, o.State, last.Note
		}
	}
	if o.Extent != 0 {
		a.Extent = o.Extent
	}
	if a.Decision.Config == nil {
		a.Decision.Config = o.Decision.Config
	}
	if o.Decision.Digest == a.Decision.Digest {
		a.Decision.Policy = o.Decision.Policy
	}
	if o.Ended == 0 {
		a.NotYet = o.Blocked
	}
}

// accountOf is the account of an operation whose entry is gone.
func accountOf(o wire.Op) *Account {
	id, _ := state.ParseOpID(o.ID) // the cell gave it
	a := &Account{
		id: id, Op: o.ID, Kind: o.Kind, Extent: o.Extent, Node: o.Node, Target: o.Target, Parent: o.Parent, Asked: o.Admitted,
		AskedBy: o.AskedBy, Origin: o.Origin, Urgent: o.Urgent, Decision: o.Decision, State: o.State, Ended: o.Ended,
		By: o.By, Detail: o.Detail, NotYet: o.Blocked,
	}
	for _, s := range o.Steps {
		if s.State == state.OpRunning.String() {
			a.Attempts = append(a.Attempts, Attempt{Fence: s.Index, Started: s.Micros, Detail: s.Note})
			continue
		}
		if n := len(a.Attempts); n > 0 && a.Attempts[n-1].Ended == 0 {
			at := &a.Attempts[n-1]
			at.Ended, at.EndIndex, at.Outcome, at.Detail = s.Micros, s.Index, s.State, at.Detail+"; "+s.Note
		}
	}
	if n := len(a.Attempts); n > 0 {
		at := &a.Attempts[n-1]
		at.Source, at.Target = o.Source, o.Target
	}
	return a
}

// present says how an extent or a node is now, and what is still to come.
func (x *Explanation) present(ctx context.Context, now *present, q Question) error {
	delay, err := now.setting(ctx, "repair-delay")
	if err != nil {
		return err
	}
	repairDelay, _ := time.ParseDuration(delay) // 0 where it is not known: then nothing is said of it
	switch {
	case q.Extent != 0:
		e, ok, err := now.extent(ctx, q.Extent)
		if err != nil || !ok {
			return err
		}
		x.Now = extentText(e)
		x.NotYet = due(now, e, repairDelay, x.Operations)
	case q.Node != "":
		i := slices.IndexFunc(now.nodes, func(n wire.Node) bool { return n.ID == q.Node })
		if i >= 0 {
			x.Now = nodeText(now.nodes[i])
			x.NotYet = nodeDue(now, now.nodes[i], repairDelay)
		}
	default:
		for _, a := range x.Operations {
			if a.NotYet != "" {
				x.NotYet = append(x.NotYet, fmt.Sprintf("it does not start now: %s", a.NotYet))
			}
		}
	}
	return nil
}
