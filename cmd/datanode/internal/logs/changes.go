package logs

import (
	"context"
	"fmt"
	"slices"

	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

// Changed is what an entry did to one thing of the state, or that it refused a command.
type Changed struct {
	What   string `json:"what"`             // "extent", "node", "operation", "policy", "setting", "refused", …
	Before string `json:"before,omitempty"` // empty: it did not exist
	After  string `json:"after,omitempty"`  // empty: it is gone
}

func (c Changed) String() string {
	switch {
	case c.Before == "":
		return "new: " + c.After
	case c.After == "":
		return "gone: " + c.Before
	}
	return c.Before + " -> " + c.After
}

// Changes are what an entry of the folder's log changed.
func (f *Folder) Changes(index uint64) ([]Changed, error) {
	change, err := f.Change(state.Index(index))
	if err != nil {
		return nil, err
	}
	return changesOf(change.Results, change.Before, change.After), nil
}

func changesOf(results []state.Result, before, after *state.View) []Changed {
	var out []Changed
	for i, r := range results {
		if r.Err != nil {
			out = append(out, Changed{What: "refused", After: fmt.Sprintf("command %d: %s", i, r.Err.Error())})
		}
	}
	return append(out, diffViews(before, after)...)
}

// Changes are what an entry of any log changed. known is false where that cannot be told: what leads to it is not all
// there.
func Changes(ctx context.Context, s Source, index uint64) (all []Changed, known bool, err error) {
	if f, ok := s.(*Folder); ok {
		all, err = f.Changes(index)
		return all, err == nil, err
	}
	for one, err := range follow(ctx, s, Range{From: index, To: index}) {
		if err != nil {
			return nil, false, err
		}
		if one.Index() == index && one.st != nil {
			before := one.st.Snapshot()
			return changesOf(one.apply(), before, one.st.Snapshot()), true, nil
		}
	}
	return nil, false, nil
}

// Between are the differences of the states after two entries of the folder's log. What was changed and changed back is
// none.
func (f *Folder) Between(from, to uint64) ([]Changed, error) {
	before, after, err := f.Stored.Between(state.Index(from), state.Index(to))
	if err != nil {
		return nil, err
	}
	return difference(before, after), nil
}

// difference is diffViews without what is the same in words.
func difference(before, after *state.View) []Changed {
	return slices.DeleteFunc(diffViews(before, after), func(c Changed) bool { return c.Before == c.After })
}

// diffViews are the differences of two states. What is the same value in both was not changed: values are immutable.
func diffViews(before, after *state.View) []Changed {
	var out []Changed
	_ = after.Dump(state.Records{ // these functions never fail
		Extent: func(e *state.Extent) error { return add(&out, "extent", before.Extent(e.ID), e) },
		Node:   func(n *state.Node) error { return add(&out, "node", before.Node(n.ID), n) },
		Op:     func(o *state.Op) error { return add(&out, "operation", before.Op(o.ID), o) },
		Policy: func(p *state.LoadPolicy) error {
			if before.Policy(p.Digest) == nil {
				out = append(out, Changed{What: "policy", After: p.Name + " " + p.Digest})
			}
			return nil
		},
		Session: func(*state.Session) error { return nil },
		Holes:   func(*state.Holes) error { return nil },
	})
	_ = before.Dump(state.Records{
		Extent:  func(e *state.Extent) error { return gone(&out, "extent", e, after.Extent(e.ID) == nil) },
		Node:    func(n *state.Node) error { return gone(&out, "node", n, after.Node(n.ID) == nil) },
		Op:      func(o *state.Op) error { return gone(&out, "operation", o, after.Op(o.ID) == nil) },
		Policy:  func(*state.LoadPolicy) error { return nil },
		Session: func(*state.Session) error { return nil },
		Holes:   func(*state.Holes) error { return nil },
	})
	if before.Active != after.Active {
		out = append(out, Changed{What: "active policy", Before: before.Active, After: after.Active})
	}
	old := map[string]string{}
	before.Settings.Each(func(key, value, _ string) { old[key] = value })
	after.Settings.Each(func(key, value, _ string) {
		if was := old[key]; was != value {
			out = append(out, Changed{What: "setting", Before: key + " " + was, After: key + " " + value})
		}
	})
	return out
}

func add[T any, P interface {
	*T
	fmt.Stringer
}](out *[]Changed, what string, before, after P) error {
	switch {
	case before == after:
	case before == nil:
		*out = append(*out, Changed{What: what, After: after.String()})
	default:
		*out = append(*out, Changed{What: what, Before: before.String(), After: after.String()})
	}
	return nil
}

func gone(out *[]Changed, what string, v fmt.Stringer, isGone bool) error {
	if isGone {
		*out = append(*out, Changed{What: what, Before: v.String()})
	}
	return nil
}

// Bounds are a log's name and its first and last entry.
func Bounds(ctx context.Context, s Source) (name string, first, last uint64, err error) {
	switch s := s.(type) {
	case *Folder:
		return s.Name, uint64(s.First), uint64(s.Last), nil
	case *File:
		var v wire.LogVerifyReply
		v, err = s.Verify(ctx)
		return s.Path, v.First, v.Last, err
	case Node:
		var reply wire.LogReply
		reply, err = s.Client.LogEntries(ctx, wire.LogRequest{Node: s.ID, Limit: 1})
		return reply.Node, reply.First, reply.Last, err
	}
	return "", 0, 0, fmt.Errorf("a log of type %T", s)
}
