package logs

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/datanode/datanode/raftlog"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

// Filter says which entries are wanted: those that meet all that is set, by one command of theirs.
type Filter struct {
	Since, Until time.Time
	Types        []string // of commands, or of the entry: "raft-noop"
	Ops          []string
	Kinds        []string // of operations
	Extents      []uint
	Nodes        []string // that the command is about, or that take part in the operation
	Policies     []string // digests, or their beginnings, or names
	By           []string // who asked: a role, a name, or both as "admin/me"
	States       []string // that a command gives: of an operation, a node, …
	Refused      bool     // commands that the state refused, as far as the entries tell: see Untold
	Limit        int      // 0: none
	Whole        bool     // Select gives each command whole, not just what is listed of it

	refused map[state.OpID]bool // by where the command is
	untold  uint64              // up to this entry it is not known
}

// Untold is up to which entry it is not known what was refused, once Select has been read: what led to those entries is
// not there any more. 0 for none.
func (f *Filter) Untold() uint64 { return f.untold }

// readRefused finds the commands that were refused, by applying all again.
func (f *Filter) readRefused(ctx context.Context, s Source) error {
	f.refused, f.untold = make(map[state.OpID]bool), 0
	for one, err := range follow(ctx, s, Range{}) {
		if err != nil {
			return err
		}
		if one.st == nil {
			f.untold = one.Index()
		}
		for place, r := range one.apply() {
			if r.Err != nil || len(r.Refused) > 0 {
				f.refused[state.NewOpID(state.Index(one.Index()), place)] = true
			}
		}
	}
	return nil
}

// needsStory reports whether commands must be known by the operations that they go on with.
func (f *Filter) needsStory() bool { return len(f.Extents)+len(f.Kinds)+len(f.Nodes) > 0 }

// Select are the entries of a range that the filter lets through, Limit at most.
func (f *Filter) Select(ctx context.Context, s Source, r Range) iter.Seq2[wire.LogEntry, error] {
	return func(yield func(wire.LogEntry, error) bool) {
		var known stories
		var err error
		learns := f.learns(r)
		switch {
		case learns:
			known = make(stories)
		case f.needsStory():
			known, err = readStories(ctx, s, f, r.To)
		}
		if err == nil && f.Refused {
			err = f.readRefused(ctx, s)
		}
		if err != nil {
			yield(wire.LogEntry{}, err)
			return
		}
		n := 0
		for e, err := range s.Entries(ctx, r) {
			if err == nil && learns {
				known.note(e, f)
			}
			if err == nil && !f.takes(e, known) {
				continue
			}
			n++
			if !yield(f.told(e), err) || err != nil || n == f.Limit {
				return
			}
		}
	}
}

// learns reports whether what commands are about is known by the time they come: all of the log is read in order, and
// the entries say it themselves. Which nodes take part, a later entry may say, and of an extent, the state.
func (f *Filter) learns(r Range) bool {
	return f.needsStory() && len(f.Extents)+len(f.Nodes) == 0 && r.From == 0 && !r.Reverse
}

func (f *Filter) told(e Entry) wire.LogEntry {
	if f.Whole {
		return e.Wire()
	}
	return e.listed()
}

func (f *Filter) takes(e Entry, known stories) bool {
	at := time.UnixMicro(e.micros())
	if !f.Since.IsZero() && at.Before(f.Since) || !f.Until.IsZero() && at.After(f.Until) {
		return false
	}
	if f.any() {
		return true
	}
	commands := e.commands()
	if len(commands) == 0 {
		return f.only() && !f.Refused && slices.Contains(f.Types, e.kind())
	}
	for place, c := range commands {
		id := state.NewOpID(state.Index(e.Index()), place)
		if c != nil && (!f.Refused || f.refused[id]) && f.command(c, about(c, id, known)) {
			return true
		}
	}
	return false
}

// any reports whether nothing is asked of commands.
func (f *Filter) any() bool { return len(f.Types) == 0 && !f.Refused && f.only() }

// only reports whether nothing but types is asked of commands.
func (f *Filter) only() bool {
	return len(f.Ops)+len(f.Kinds)+len(f.Extents)+len(f.Nodes)+len(f.Policies)+len(f.By)+len(f.States) == 0
}

func (f *Filter) command(c state.Command, s subject) bool {
	by := string(state.AskedBy(c))
	_, name, _ := strings.Cut(by, "/")
	role, _, _ := strings.Cut(by, "/")
	matches := func(want []string, has ...string) bool {
		return len(want) == 0 || slices.ContainsFunc(has, func(h string) bool { return h != "" && slices.Contains(want, h) })
	}
	policy := len(f.Policies) == 0 || slices.ContainsFunc(f.Policies, func(p string) bool {
		return slices.ContainsFunc(s.policies, func(h string) bool {
			_, hex, _ := strings.Cut(h, ":")
			return h != "" && (strings.HasPrefix(h, p) || hex != "" && strings.HasPrefix(hex, p))
		})
	})
	return policy && matches(f.Types, c.CommandType().String()) && matches(f.Ops, s.ops...) &&
		matches(f.Kinds, s.kind) && matches(f.Nodes, s.nodes...) && matches(f.By, by, role, name) &&
		matches(f.States, s.state) &&
		(len(f.Extents) == 0 || slices.ContainsFunc(f.Extents, func(x uint) bool {
			return slices.Contains(s.extents, uint64(x))
		}))
}

func (e Entry) micros() int64 {
	if e.read == nil {
		return e.told.Micros
	}
	return int64(e.read.Micros)
}

func (e Entry) term() uint64 {
	if e.read == nil {
		return e.told.Term
	}
	return e.read.Term
}

// appended is the leader's clock when it took the entry, in microseconds since 1970; 0 where only a folder tells.
func (e Entry) appended() int64 {
	if e.read == nil {
		return 0
	}
	return int64(e.read.Appended)
}

// unreadable reports whether the entry cannot be read.
func (e Entry) unreadable() bool {
	return e.read != nil && e.read.Err != nil || strings.HasPrefix(e.kind(), "unreadable")
}

// isNewer reports whether an unreadable entry is so because a newer build has written it.
func (e Entry) isNewer() bool {
	if e.read != nil {
		return errors.As(e.read.Err, new(*raftlog.UnknownError))
	}
	return strings.HasSuffix(e.kind(), (&raftlog.UnknownError{}).Error()[len("log entry 0 holds "):])
}

func (e Entry) kind() string {
	if e.read == nil {
		return e.told.Type
	}
	return e.read.Kind
}

// commands are the entry's commands; nil for one of a type that this build does not know.
func (e Entry) commands() []state.Command {
	if e.read != nil {
		return e.read.Commands
	}
	out := make([]state.Command, len(e.told.Commands))
	for i, c := range e.told.Commands {
		cmd := newCommand(c.Type)
		if cmd != nil && json.Unmarshal(c.JSON, cmd) == nil {
			out[i] = cmd
		}
	}
	return out
}

// newCommand is an empty command of a type, nil where there is none.
func newCommand(name string) state.Command {
	for t := state.CommandType(1); ; t++ {
		c := state.NewCommand(t)
		if c == nil || t.String() == name {
			return c
		}
	}
}

// Takes reports whether the filter lets an entry through, as far as the entry alone tells.
func (f *Filter) Takes(e Entry) bool { return f.takes(e, nil) }

// Everything reports whether the filter lets every entry through.
func (f *Filter) Everything() bool { return f.any() && f.Since.IsZero() && f.Until.IsZero() }
