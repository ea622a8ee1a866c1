package raftlog

import (
	"context"
	"errors"
	"slices"

	"github.com/hashicorp/raft"

	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

// EntryInfo is one entry of the log, for people. Its commands must not be changed.
type EntryInfo struct {
	Index    state.Index
	Term     uint64
	Micros   state.Micros // the cell's time; of the engine's own entries the leader's clock
	Appended state.Micros // the leader's clock when it took the entry into its log; 0 where that is not known
	Kind     string       // "commands"; for the engine's own "raft-noop", "raft-configuration", ...
	Types    []string     // the distinct types of the commands, in the order they first occur
	Commands []state.Command
	Bytes    int // of the whole entry
	// Chain is the chain after this entry, nil where the log no longer goes back to a known point.
	Chain *ChainPoint
	// Err is of type *CorruptError or *UnknownError when the entry cannot be read. Commands is then nil.
	Err error
}

const (
	kindCommands = "commands"
	// checkEvery is how many entries are read between two looks at the context.
	checkEvery = 256
)

// reader reads applied entries back. It takes no locks: entries that a snapshot replaces meanwhile
// give a *CompactedError.
type reader struct {
	log    raft.LogStore
	first  state.Index // the first entry in the log
	live   ChainPoint  // the chain at the last entry that may be read
	points chainPoints // those that the log still goes back to
}

func (g *Group) reader() (*reader, error) {
	r := &reader{log: g.log}
	var points chainPoints
	r.live, points = g.machine.chainState()
	first, err := r.log.FirstIndex()
	if err != nil {
		return nil, wire.Errorf(wire.OpLogList, wire.CodeInternal, "read the log: %s", err.Error())
	}
	r.first = state.Index(first)
	if first == 0 {
		r.first = r.live.Index + 1
	}
	r.points = points.from(r.first)
	return r, nil
}

// get reads one entry as the engine stored it.
func (r *reader) get(index state.Index) (*raft.Log, error) {
	l := new(raft.Log)
	err := r.log.GetLog(uint64(index), l)
	if errors.Is(err, raft.ErrLogNotFound) {
		first, ferr := r.log.FirstIndex()
		if ferr == nil && (first == 0 || uint64(index) < first) {
			return nil, &CompactedError{Asked: index, First: max(state.Index(first), index+1)}
		}
	}
	if err != nil && !errors.As(err, new(*CorruptError)) {
		return nil, &CorruptError{Index: index, Detail: err.Error()}
	}
	return l, err
}

// chainAfter is the chain after l, given the one before it.
func chainAfter(before ChainPoint, l *raft.Log) ChainPoint {
	if l.Type != raft.LogCommand {
		return ChainPoint{Index: state.Index(l.Index), Hash: before.Hash}
	}
	return before.next(state.Index(l.Index), l.Term, l.Data)
}

// Entries reads the log from from to to, both included, and hands each entry to yield until that answers
// false. from 0 means the first that there is; to is cut at the applied index. Entries before
// the first in the log give a *CompactedError, and nothing else.
func (g *Group) Entries(from, to state.Index, yield func(EntryInfo) bool) error {
	r, err := g.reader()
	if err != nil {
		return err
	}
	if from == 0 {
		from = r.first
	}
	if from < r.first {
		return &CompactedError{Asked: from, First: r.first}
	}
	to = min(to, r.live.Index)
	chain, known := r.points.before(from-1, r.first)
	start := from
	if known {
		start = chain.Index + 1
	}
	for i := start; i <= to; i++ {
		l, err := r.get(i)
		if err != nil {
			known = false
			if i < from {
				continue
			}
			if c := (*CorruptError)(nil); !errors.As(err, &c) {
				return err
			}
			if !yield(EntryInfo{Index: i, Err: err}) {
				return nil
			}
			continue
		}
		chain = chainAfter(chain, l)
		if p, ok := r.points.at(i); ok {
			chain, known = p, true
		}
		if i >= from && !yield(describe(l, chain, known)) {
			return nil
		}
	}
	return nil
}

func describe(l *raft.Log, chain ChainPoint, known bool) EntryInfo {
	info := EntryInfo{Index: state.Index(l.Index), Term: l.Term, Bytes: len(l.Data), Kind: kindCommands}
	if !l.AppendedAt.IsZero() {
		info.Appended = state.Micros(l.AppendedAt.UnixMicro())
	}
	if known {
		info.Chain = &chain
	}
	if l.Type != raft.LogCommand {
		info.Kind = engineKind(l.Type)
		info.Micros = state.Micros(l.AppendedAt.UnixMicro())
		return info
	}
	e, commands, _, err := readEntry(info.Index, l.Data)
	info.Micros, info.Commands, info.Err = e.Micros, commands, err
	for _, c := range commands {
		if name := c.CommandType().String(); !slices.Contains(info.Types, name) {
			info.Types = append(info.Types, name)
		}
	}
	return info
}

func engineKind(t raft.LogType) string {
	switch t {
	case raft.LogNoop:
		return "raft-noop"
	case raft.LogConfiguration:
		return "raft-configuration"
	case raft.LogBarrier:
		return "raft-barrier"
	}
	return "raft-other"
}

// ChainAt is the chain at an index that is applied here, computed from the log. A *CompactedError
// names the first index that this node can still answer for.
func (g *Group) ChainAt(index state.Index) (ChainPoint, error) {
	r, err := g.reader()
	if err != nil {
		return ChainPoint{}, err
	}
	if index > r.live.Index {
		return ChainPoint{}, wire.Errorf(wire.OpLogChain, wire.CodePrecondition,
			"entry %d is not applied on %s yet; %d is", index, g.cfg.ID, r.live.Index)
	}
	return r.chainAt(index)
}

// chainAt is the chain at an entry that may be read.
func (r *reader) chainAt(index state.Index) (ChainPoint, error) {
	if index == r.live.Index {
		return r.live, nil
	}
	chain, ok := r.points.before(index, r.first)
	if !ok {
		first := r.live.Index
		if len(r.points) > 0 {
			first = r.points[0].Index
		}
		return ChainPoint{}, &CompactedError{Asked: index, First: first}
	}
	for i := chain.Index + 1; i <= index; i++ {
		l, err := r.get(i)
		if err != nil {
			return ChainPoint{}, err
		}
		chain = chainAfter(chain, l)
	}
	return chain, nil
}

// VerifyReport is what reading the whole log again came to.
type VerifyReport struct {
	First, Last state.Index // the entries that were read
	Entries     uint64
	Bytes       uint64
	Base        ChainPoint // where the chain was computed from; checksums were checked from First
	Chain       ChainPoint // as computed, up to Last or the entry before the bad one
	Live        ChainPoint // as computed while applying
	Bad         *BadEntry  // nil when all is well
}

// BadEntry says where the log is not what it was. The first bad entry is From, or, where only the
// chain tells, one of From to To.
type BadEntry struct {
	From, To state.Index
	Detail   string
}

// Verify reads the stored log again, up to the applied index: every entry of commands must match its
// checksum, and the chain over them the one computed while applying. The error is only that of a
// verification which could not be carried through.
func (g *Group) Verify(ctx context.Context) (VerifyReport, error) {
	return g.VerifyPaced(func(int) error {
		if ctx.Err() != nil {
			return fromContext(ctx, wire.NotDone)
		}
		return nil
	})
}

// VerifyPaced is Verify for whoever is in no hurry: pace is called now and then with how many bytes were read since,
// and ends it with an error.
func (g *Group) VerifyPaced(pace func(bytes int) error) (VerifyReport, error) {
	r, err := g.reader()
	if err != nil {
		return VerifyReport{}, err
	}
	rep := VerifyReport{First: r.first, Last: r.live.Index, Live: r.live, Base: r.live, Chain: r.live}
	if len(r.points) > 0 {
		rep.Base = r.points[0]
	}
	rep.Chain = rep.Base
	paced := uint64(0)
	for i := r.first; i <= r.live.Index && rep.Bad == nil; i++ {
		if i%checkEvery == 0 {
			if err := pace(int(rep.Bytes - paced)); err != nil {
				return rep, err
			}
			paced = rep.Bytes
		}
		l, err := r.get(i)
		if compacted := (*CompactedError)(nil); errors.As(err, &compacted) {
			return rep, err
		}
		rep.check(r, i, l, err)
	}
	return rep, nil
}

// check looks at one entry, that reading it gave err for.
func (rep *VerifyReport) check(r *reader, i state.Index, l *raft.Log, err error) {
	if err == nil && l.Type == raft.LogCommand {
		_, _, _, err = readEntry(i, l.Data)
	}
	if c := (*CorruptError)(nil); errors.As(err, &c) {
		rep.Bad = &BadEntry{From: i, To: i, Detail: c.Detail}
		return
	}
	rep.Entries++
	rep.Bytes += uint64(len(l.Data))
	if i <= rep.Base.Index {
		return
	}
	rep.Chain = chainAfter(rep.Chain, l)
	want, ok := r.points.at(i)
	if i == r.live.Index {
		want, ok = r.live, true
	}
	if ok && rep.Chain != want {
		rep.Bad = &BadEntry{From: r.points.lastBefore(i) + 1, To: i,
			Detail: "the chain is " + rep.Chain.String() + ", want " + want.String()}
	}
}

// FirstIndex is the oldest entry that this node still has.
func (g *Group) FirstIndex() (state.Index, error) {
	r, err := g.reader()
	if err != nil {
		return 0, err
	}
	return r.first, nil
}
