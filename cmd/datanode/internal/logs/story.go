package logs

import (
	"context"
	"slices"

	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

// subject is what a command is about.
type subject struct {
	ops      []string // it is one of them, or names it
	kind     string   // of the operation
	extents  []uint64
	nodes    []string
	policies []string // digest and name
	state    string   // that it gives
}

// story is what an operation was admitted for.
type story struct {
	kind   string
	extent uint64
	nodes  []string
}

// stories are those of the operations that a log admits.
type stories map[state.OpID]story

// readStories goes through a log once: what starts or ends an operation names it and nothing else. Which extent a
// create made, only the state says.
func readStories(ctx context.Context, s Source, f *Filter, to uint64) (stories, error) {
	out := make(stories)
	for e, err := range s.Entries(ctx, Range{To: to}) {
		if err != nil {
			return nil, err
		}
		out.note(e, f)
	}
	if len(f.Extents) == 0 {
		return out, nil
	}
	return out, out.findExtents(ctx, s, f)
}

// note notes what an entry admits and starts as far as a filter has to know it, and reports whether it admits something
// that names no extent: a create.
func (all stories) note(e Entry, f *Filter) (creates bool) {
	for place, c := range e.commands() {
		id := state.NewOpID(state.Index(e.Index()), place)
		switch c := c.(type) {
		case *state.Admit:
			if len(f.Kinds) > 0 && !slices.Contains(f.Kinds, c.Kind.String()) {
				continue // none of its commands is wanted: what is not known is of no kind
			}
			all[id] = story{kind: c.Kind.String(), extent: uint64(c.Extent),
				nodes: names(append([]state.NodeID{c.Node, c.Target}, c.Replicas...)...)}
			creates = creates || c.Kind == policies.KindCreate
		case *state.Start:
			if st, ok := all[c.Op]; ok {
				st.nodes = append(st.nodes, names(c.Source, c.Target, c.Executor, c.Replaces)...)
				all[c.Op] = st
			}
		}
	}
	return creates
}

// findExtents fills in which extents operations are about from what the state says. An export has none: of a create it
// does not say which extent it made.
func (all stories) findExtents(ctx context.Context, s Source, f *Filter) error {
	note := func(id state.OpID, kind string, extent uint64) {
		st := all[id]
		st.kind, st.extent = kind, extent
		all[id] = st
	}
	switch s := s.(type) {
	case Node:
		for _, extent := range f.Extents {
			for o, err := range s.Client.Ops(ctx, wire.OpsRequest{Extent: uint64(extent)}) {
				if err != nil {
					return err
				}
				if id, err := state.ParseOpID(o.ID); err == nil {
					note(id, o.Kind, o.Extent)
				}
			}
		}
	case *Folder:
		_, err := s.Replay(func(_ state.Index, results []state.Result) {
			for _, r := range results {
				if r.Op != 0 && r.Extent != 0 && r.Err == nil {
					note(r.Op, r.Kind.String(), uint64(r.Extent))
				}
			}
		})
		if err != nil {
			return nil //nolint:nilerr // what entries name themselves is found all the same; verify says what is damaged
		}
	}
	return nil
}

func names(nodes ...state.NodeID) []string {
	var out []string
	for _, n := range nodes {
		if n != "" {
			out = append(out, string(n))
		}
	}
	return out
}

// about is what a command is about; id is the operation that it would admit.
func about(c state.Command, id state.OpID, known stories) subject {
	of := func(op state.OpID, given string) subject {
		st := known[op]
		return subject{ops: []string{op.String()}, kind: st.kind, extents: []uint64{st.extent}, nodes: st.nodes, state: given}
	}
	switch c := c.(type) {
	case *state.Admit:
		s := of(id, "queued")
		if c.Start {
			s.state = "running"
		}
		s.kind, s.extents = c.Kind.String(), append(s.extents, uint64(c.Extent))
		s.nodes = append(s.nodes, names(append([]state.NodeID{c.Node, c.Target}, c.Replicas...)...)...)
		s.policies = []string{c.Decision.Policy}
		for _, k := range c.Decision.Conflicts {
			s.ops = append(s.ops, k.With.String())
		}
		return s
	case *state.Start:
		s := of(c.Op, "running")
		s.nodes = append(s.nodes, names(c.Source, c.Target, c.Executor, c.Replaces)...)
		return s
	case *state.Finish:
		return of(c.Op, map[state.Outcome]string{
			state.OutcomeDone: "done", state.OutcomeRetry: "queued", state.OutcomeFail: "failed",
		}[c.Outcome])
	case *state.Cancel:
		return of(c.Op, "cancelled")
	case *state.Reorder:
		return of(c.Op, "")
	case *state.Rescore:
		s := of(c.Op, "")
		s.policies = []string{c.Decision.Policy}
		return s
	}
	return aboutNoOperation(c)
}

func aboutNoOperation(c state.Command) subject {
	switch c := c.(type) {
	case *state.Gone:
		return subject{extents: []uint64{uint64(c.Extent)}, nodes: names(c.Node)}
	case *state.Suspect:
		return subject{extents: []uint64{uint64(c.Extent)}, nodes: names(c.Node), state: "suspect"}
	case *state.Proven:
		return subject{extents: []uint64{uint64(c.Extent)}, nodes: names(c.Node), state: "whole"}
	case *state.Punch:
		var s subject
		for _, r := range c.Ranges {
			s.extents = append(s.extents, uint64(r.Extent))
		}
		return s
	case *state.Undelete:
		return subject{extents: []uint64{uint64(c.Extent)}, state: "sealed"}
	case *state.EndGrace:
		var s subject
		for _, id := range c.Extents {
			s.extents = append(s.extents, uint64(id))
		}
		return s
	case *state.Join:
		return subject{nodes: names(c.Node)}
	case *state.SetNodeState:
		return subject{nodes: names(c.Node), state: c.State.String()}
	case *state.SetVoter:
		return subject{nodes: names(c.Node)}
	case *state.RemoveNode:
		return subject{nodes: names(c.Node)}
	case *state.Pause:
		return subject{nodes: names(c.Node)}
	case *state.NodeRoom:
		return subject{nodes: names(c.Node)}
	case *state.LoadPolicy:
		return subject{nodes: names(c.Source), policies: []string{c.Digest, c.Name}}
	case *state.ActivatePolicy:
		return subject{policies: []string{c.Digest}, state: "active"}
	}
	return subject{}
}
