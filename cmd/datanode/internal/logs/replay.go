package logs

import (
	"iter"
	"time"

	"github.com/datanode/datanode/node/describe"
	"github.com/datanode/datanode/node/schedule"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

// Past is the state of a cell as the entries up to one of them made it.
type Past struct {
	view *state.View
	look *schedule.Look
}

// At is the state after an entry; 0 is the last one.
func (f *Folder) At(index uint64) (*Past, error) {
	view, err := f.StateAt(state.Index(index))
	if err != nil {
		return nil, err
	}
	return &Past{view, schedule.LookAt(view, schedule.Moment{Cell: view.NowMicros})}, nil
}

// LastBefore is the last entry that was made at a time or before, 0 for none.
func (f *Folder) LastBefore(t time.Time) uint64 {
	for e := range f.Stored.Entries(0, 0, true) {
		if e.Err == nil && e.Micros > 0 && !e.Micros.Time().After(t) {
			return uint64(e.Index)
		}
	}
	return 0
}

// Index is the last entry of the state, and Micros the cell's time then.
func (p *Past) Index() uint64 { return uint64(p.view.Applied) }

// Micros is the cell's time then, in microseconds since 1970.
func (p *Past) Micros() int64 { return int64(p.view.NowMicros) }

// Extents are those that there were, by number.
func (p *Past) Extents() iter.Seq2[wire.Extent, error] {
	return func(yield func(wire.Extent, error) bool) {
		p.view.Extents(1, func(e *state.Extent) bool { return yield(describe.Extent(p.view, e), nil) })
	}
}

// Nodes are those that there were, by name. Who led is not in the state.
func (p *Past) Nodes() iter.Seq2[wire.Node, error] {
	return func(yield func(wire.Node, error) bool) {
		p.view.Nodes(func(n *state.Node) bool { return yield(describe.Node(p.view, p.look, n, ""), nil) })
	}
}

// Ops are the operations that were kept, by ID, with what those in the queue waited for.
func (p *Past) Ops() iter.Seq2[wire.Op, error] {
	return func(yield func(wire.Op, error) bool) {
		p.view.Ops(0, func(o *state.Op) bool { return yield(p.op(o, false), nil) })
	}
}

func (p *Past) op(o *state.Op, alone bool) wire.Op {
	out := describe.Op(p.view, o, alone)
	if o.State == state.OpQueued {
		out.Blocked = p.look.Blocked(o)
	}
	return out
}

// Op is one of the operations in full, false if it was not kept.
func (p *Past) Op(id state.OpID) (wire.Op, bool) {
	o := p.view.Op(id)
	if o == nil {
		return wire.Op{}, false
	}
	return p.op(o, true), true
}

// Settings are those that held, by key.
func (p *Past) Settings() iter.Seq2[wire.Setting, error] {
	return func(yield func(wire.Setting, error) bool) {
		more := true
		p.view.Settings.Each(func(key, value, help string) {
			more = more && yield(wire.Setting{Key: key, Value: value, Help: help}, nil)
		})
	}
}
