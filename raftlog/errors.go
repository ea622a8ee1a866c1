package raftlog

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/hashicorp/raft"

	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

// CompactedError says that the log no longer holds what was asked for: a snapshot has taken its place.
type CompactedError struct {
	Asked state.Index
	First state.Index // the first index that can be had
}

func (e *CompactedError) Error() string {
	return fmt.Sprintf("log entry %d is compacted into a snapshot; the first that can be read is %d", e.Asked, e.First)
}

// CorruptError says that stored bytes are not what was written.
type CorruptError struct {
	Index  state.Index // 0 when it is not known, or in a snapshot
	File   string      // empty when it is not known
	Detail string
}

func (e *CorruptError) Error() string {
	where := ""
	if e.File != "" {
		where = " in " + e.File
	}
	if e.Index == 0 {
		return "corrupt" + where + ": " + e.Detail
	}
	return fmt.Sprintf("log entry %d%s is corrupt: %s", e.Index, where, e.Detail)
}

// UnusableError says that a node cannot start, or go on, with the log that is in its folder, and what to do.
type UnusableError struct {
	Err error
	Way string // out
}

func (e *UnusableError) Error() string { return e.Err.Error() + "; " + e.Way }
func (e *UnusableError) Unwrap() error { return e.Err }

// newNodeAdvice is what remains where not even the votes are known.
const newNodeAdvice = "start an empty folder under a new --id, and remove this node with datanode node remove"

// asideAdvice is what to do once a log was put aside.
func asideAdvice(aside string) string {
	return "it is put aside as " + aside +
		"; start this node again: the others fill a new log, and it has no vote until then"
}

// emptyLogAdvice is how a node comes back whose log in dir was emptied.
func emptyLogAdvice(dir string) string {
	return fmt.Sprintf("bring the log back, or let the other nodes fill it: datanode recover --dir %s --empty-log; or %s",
		filepath.Dir(filepath.Clean(dir)), newNodeAdvice)
}

func corrupt(format string, args ...any) *CorruptError {
	return &CorruptError{Detail: fmt.Sprintf(format, args...)}
}

// UnknownError says that an entry is of a kind that this version does not know and that must not be
// skipped.
type UnknownError struct {
	Index state.Index
	What  string
}

func (e *UnknownError) Error() string {
	return fmt.Sprintf("log entry %d holds %s, which this version does not know; run a newer version on this node",
		e.Index, e.What)
}

var (
	errClosed   = errors.New("the log is closed")
	errAbstains = errors.New("this node abstains until its log is whole")
	errAway     = errors.New("this node is not where its log has it, and takes no part until it was let in there")
	errHung     = errors.New("a write to the log's disk hangs")
)

// unavailable is the error of a proposal or group change that the engine did not see through.
func unavailable(outcome wire.Outcome, format string, args ...any) *wire.Error {
	e := wire.Errorf(wire.OpPropose, wire.CodeUnavailable, format, args...)
	e.Outcome = outcome
	return e
}

// fromContext is the error of a caller whose context ended.
func fromContext(ctx context.Context, outcome wire.Outcome) *wire.Error {
	code, what := wire.CodeCancelled, "cancelled by the caller"
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		code, what = wire.CodeDeadline, "the deadline passed"
	}
	e := wire.Errorf(wire.OpPropose, code, "%s", what)
	e.Outcome = outcome
	return e
}

// fromRaft says what an error of the engine means for the work. Only what it returns before it
// takes the work on is known not to have been done.
func (g *Group) fromRaft(err error) *wire.Error {
	switch {
	case errors.Is(err, raft.ErrNotLeader):
		return g.notLeader()
	case errors.Is(err, raft.ErrLeadershipTransferInProgress):
		return unavailable(wire.NotDone, "the leadership is just being handed over; try again")
	case errors.Is(err, raft.ErrEnqueueTimeout):
		return unavailable(wire.NotDone, "the log did not take the entry within %s", enqueueTimeout)
	case errors.Is(err, raft.ErrLeadershipLost):
		return unavailable(wire.Unknown, "the leadership was lost before the entry was agreed on")
	}
	return unavailable(wire.Unknown, "%s", err.Error())
}

func (g *Group) notLeader() *wire.Error {
	id, addr := g.Leader()
	if id == "" {
		return unavailable(wire.NotDone, "%s is not the leader, and knows of none", g.cfg.ID)
	}
	return unavailable(wire.NotDone, "%s is not the leader; %s at %s is", g.cfg.ID, id, addr)
}
