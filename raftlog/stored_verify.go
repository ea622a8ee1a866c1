package raftlog

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/hashicorp/raft"

	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

// Verify reads all of the log again: every page and record, that the entries follow each other, the sums and the chain,
// the snapshots, and that the state of each snapshot is what the entries before it come to. The error is only that of
// the context.
func (s *Stored) Verify(ctx context.Context) (VerifyReport, error) {
	rep := VerifyReport{First: s.First, Last: s.Last, Live: s.Applied}
	v := storedVerify{of: s, rep: &rep}
	rep.Bad = v.verifyFile()
	v.begin()
	for r := range s.decoded(0, 0) {
		if ctx.Err() != nil {
			return rep, fromContext(ctx, wire.NotDone)
		}
		if !v.record(r) {
			break
		}
	}
	rep.Base, rep.Chain = v.base, v.chain
	if rep.Bad == nil {
		v.end()
	}
	return rep, nil
}

// verifyFile looks at what is about the file, not about an entry.
func (v *storedVerify) verifyFile() *BadEntry {
	s := v.of
	if s.Damage != nil {
		return &BadEntry{Detail: s.Damage.Error()}
	}
	for _, snap := range s.Snapshots {
		if snap.Err != nil {
			return &BadEntry{Detail: fmt.Sprintf("snapshot %s: %s", snap.ID, snap.Err.Error())}
		}
	}
	if s.pages == nil {
		return nil
	}
	var err error
	if v.seen, err = inspectAs(s.f.Name(), found{skim: true}); err != nil {
		return &BadEntry{Detail: err.Error()}
	}
	return nil
}

// storedVerify follows the entries of a log.
type storedVerify struct {
	of          *Stored
	rep         *VerifyReport
	seen        found // in the file, and of the entries so far
	base, chain ChainPoint
	known       bool // the chain is
	st          *state.State
}

// begin starts from the oldest snapshot that the entries go on from, or from nothing.
func (v *storedVerify) begin() {
	if v.of.First <= 1 {
		v.st, v.known = state.New(), true
		return
	}
	for i := range v.of.Snapshots {
		snap := &v.of.Snapshots[i]
		if snap.Err != nil || snap.Index+1 < v.of.First {
			continue
		}
		r, err := snap.state()
		if err != nil {
			continue
		}
		v.st, v.base, v.chain, v.known = r.st, r.chain, r.chain, true
		return
	}
}

// record looks at one record, and reports whether to go on.
func (v *storedVerify) record(r decodedRecord) bool {
	l, err := r.log, r.err
	unknown := errors.As(err, new(*UnknownError))
	if err == nil || unknown {
		err = cmp.Or(v.seen.follow(l), err)
	}
	if err != nil && !errors.As(err, new(*UnknownError)) {
		from, detail := r.index, err.Error()
		if bad := (*CorruptError)(nil); errors.As(err, &bad) && bad.Index != 0 {
			from, detail = bad.Index, bad.Detail
		}
		v.bad(from, max(from, r.to), detail)
		return false
	}
	v.rep.Entries++
	v.rep.Bytes += uint64(len(l.Data))
	index := state.Index(l.Index)
	if !v.known || index <= v.chain.Index {
		return true
	}
	v.chain = chainAfter(v.chain, l)
	if l.Type == raft.LogCommand && err == nil && !r.skip {
		v.st.Apply(index, r.entry.Micros, r.commands)
	} else {
		v.st.Skip(index)
	}
	return v.meets(index)
}

func (v *storedVerify) bad(from, to state.Index, detail string) {
	if v.rep.Bad == nil {
		v.rep.Bad = &BadEntry{From: from, To: to, Detail: detail}
	}
}

// meets holds the chain and the state against what was noted at an index.
func (v *storedVerify) meets(index state.Index) bool {
	if want := v.of.Applied; want.Index == index && want != v.chain {
		v.bad(v.base.Index+1, index, fmt.Sprintf("the chain is %s, and %s was applied", v.chain, want))
		return false
	}
	for i := range v.of.Snapshots {
		snap := &v.of.Snapshots[i]
		if snap.Err != nil {
			continue
		}
		if want, ok := snap.points.at(index); ok && want != v.chain {
			v.bad(v.base.Index+1, index, fmt.Sprintf("the chain is %s, want %s, as snapshot %s has it", v.chain, want, snap.ID))
			return false
		}
		if snap.Applied.Index == index && !v.sameState(snap) {
			return false
		}
	}
	return true
}

// sameState reports whether the entries come to the state in a snapshot.
func (v *storedVerify) sameState(snap *StoredSnapshot) bool {
	kept, err := snap.state()
	var a, b []byte
	if err == nil {
		a, err = stateBytes(kept.st.Snapshot())
	}
	if err == nil {
		b, err = stateBytes(v.st.Snapshot())
	}
	switch {
	case err != nil:
		v.bad(snap.Applied.Index, snap.Applied.Index, err.Error())
	case !bytes.Equal(a, b):
		v.bad(v.base.Index+1, snap.Applied.Index, fmt.Sprintf(
			"the entries up to here come to another state than the one that snapshot %s has", snap.ID))
	default:
		return true
	}
	return false
}

// stateBytes is a state as a snapshot would have it.
func stateBytes(v *state.View) ([]byte, error) {
	var b bytes.Buffer
	err := (&snapshot{view: v}).write(&b)
	return b.Bytes(), err
}

// end looks at what only the whole log tells.
func (v *storedVerify) end() {
	s := v.of
	newest := ChainPoint{}
	for _, snap := range s.Snapshots {
		if snap.Err == nil {
			newest = snap.Applied
		}
	}
	last := max(s.Last, newest.Index)
	if err := v.seen.checkTerm(); err != nil {
		v.bad(0, 0, err.Error())
	}
	switch {
	case s.Applied.Index > last:
		v.bad(last+1, s.Applied.Index, fmt.Sprintf(
			"the log ends with entry %d, and entry %d was applied: it is an older copy", last, s.Applied.Index))
	case s.First > 1 && !v.known:
		v.bad(1, s.First-1, "the entries before the first are gone, and no sound snapshot stands for them")
	}
}
