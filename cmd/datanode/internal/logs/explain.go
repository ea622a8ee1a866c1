package logs

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/datanode/datanode/cmd/datanode/internal/exit"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

// Question is what somebody wants to have explained: one of its fields is set.
type Question struct {
	Op     state.OpID
	Extent uint64
	Node   string
}

func (q Question) String() string {
	switch {
	case q.Op != 0:
		return "operation " + q.Op.String()
	case q.Extent != 0:
		return fmt.Sprintf("extent %d", q.Extent)
	}
	return "node " + q.Node
}

// Explanation is the story of an operation, an extent or a node.
type Explanation struct {
	About      string    `json:"about"`             // "operation 4711", "extent 12", "node n1"
	Now        string    `json:"now,omitempty"`     // an extent or node as it is, in a line
	AsOf       uint64    `json:"as_of_index"`       // the last entry that was looked at
	AsOfMicros int64     `json:"as_of_time_micros"` // when it was made
	Sentences  []string  `json:"sentences"`         // all that follows, to be read
	Operations []Account `json:"operations"`
	Events     []Event   `json:"events"`  // of an extent or node, what was no operation
	NotYet     []string  `json:"not_yet"` // what is to come, and when
	// Partial says what cannot be told from this log, and from which it could.
	Partial string `json:"partial,omitempty"`
}

// Account is what became of one operation, from request to end.
type Account struct {
	Op      string   `json:"id"`
	Kind    string   `json:"kind"`
	Extent  uint64   `json:"extent,omitempty"`
	Node    string   `json:"node,omitempty"`
	Target  string   `json:"target,omitempty"` // of a move, where its asker wants it
	Parent  string   `json:"parent,omitempty"` // the decommission that it is a part of
	Nodes   []string `json:"replicas,omitempty"`
	Index   uint64   `json:"index"` // of the entry that admitted it; 0 where that is gone
	Asked   int64    `json:"asked_time_micros"`
	AskedBy string   `json:"asked_by,omitempty"`
	Origin  string   `json:"origin"` // "user", "cell", "decommission"
	Urgent  bool     `json:"urgent,omitempty"`
	Forced  bool     `json:"forced,omitempty"`

	Decision wire.Decision `json:"decision"` // the first one
	Rescored []Rescored    `json:"rescored"` // those that changed it
	Met      []Meeting     `json:"met"`      // later operations that were in conflict with it
	Waited   []Wait        `json:"waited"`   // as far as it can be told
	Attempts []Attempt     `json:"attempts"`
	Moves    []string      `json:"moves"` // those that are part of a decommission

	State    string `json:"state"` // as op ls has it, or "refused", "merged"
	Ended    int64  `json:"ended_time_micros,omitempty"`
	EndIndex uint64 `json:"ended_index,omitempty"`
	By       string `json:"by,omitempty"` // what ended it, or what it became part of
	ByWhom   string `json:"by_whom,omitempty"`
	Detail   string `json:"detail,omitempty"`
	NotYet   string `json:"not_yet,omitempty"` // what it waits for now
	Rerun    *Rerun `json:"rerun,omitempty"`

	id    state.OpID
	admit *state.Admit // nil where the entry is gone
	known bool         // what the entry came to is known
	// presumed says that its one attempt is one that its admit asked for, and may not have come to.
	presumed bool
	load     *state.LoadPolicy
	pairs    []pair // the facts of the conflicts, as they were; nil where they cannot be told
}

// Rescored is a later decision about the priority.
type Rescored struct {
	Index    uint64 `json:"index"`
	Micros   int64  `json:"time_micros"`
	Priority int32  `json:"priority"`
	Policy   string `json:"policy"`
	Reason   string `json:"reason"`
}

// Meeting is a conflict with an operation that came later.
type Meeting struct {
	With    string `json:"with"`
	Kind    string `json:"kind"`
	AskedBy string `json:"asked_by,omitempty"`
	Verdict string `json:"verdict"`
	Reason  string `json:"reason"`
}

// Wait is a time in which an operation waited for one thing.
type Wait struct {
	From   int64  `json:"from_time_micros"`
	Micros int64  `json:"micros"`
	Why    string `json:"why"` // empty: nothing held it

	over bool
}

// Attempt is one start of an operation, and how it ended.
type Attempt struct {
	Fence    uint64 `json:"fence"` // the entry that let it start
	Started  int64  `json:"started_time_micros"`
	Executor string `json:"executor,omitempty"`
	Source   string `json:"from,omitempty"`
	Target   string `json:"to,omitempty"`
	Replaces string `json:"replaces,omitempty"`
	Bytes    uint64 `json:"bytes,omitempty"`
	Ended    int64  `json:"ended_time_micros,omitempty"`
	EndIndex uint64 `json:"ended_index,omitempty"`
	Outcome  string `json:"outcome,omitempty"` // "done", "retry", "failed"; or what the operation ended as
	Detail   string `json:"detail,omitempty"`
}

// Event is something else that happened.
type Event struct {
	Index   uint64 `json:"index"`
	Micros  int64  `json:"time_micros"`
	Text    string `json:"text"`
	AskedBy string `json:"asked_by,omitempty"`
}

// Explain reads a log and tells the story of what q names. The error is exit.NotFound where there is nothing of it.
func Explain(ctx context.Context, s Source, q Question) (*Explanation, error) {
	c := newCollector(q)
	from := uint64(q.Op.Index())
	for one, err := range follow(ctx, s, Range{From: from}) {
		if err != nil {
			return nil, err
		}
		if q.Op != 0 && one.Index() > from && c.accounts[q.Op] == nil {
			break // it is of an entry that is gone
		}
		c.take(one)
		if c.over() {
			break
		}
	}
	now, err := presentOf(ctx, s, c)
	if err != nil {
		return nil, err
	}
	out := &Explanation{About: q.String(), AsOf: now.index, AsOfMicros: now.micros, Events: c.events}
	if err := c.complete(ctx, now); err != nil {
		return nil, err
	}
	loads := c.loadsOf()
	for _, id := range slices.Sorted(maps.Keys(c.accounts)) {
		c.accounts[id].load = loads[c.accounts[id].Decision.Digest]
		out.Operations = append(out.Operations, *c.accounts[id])
	}
	if err := out.present(ctx, now, q); err != nil {
		return nil, err
	}
	if len(out.Operations) == 0 && len(out.Events) == 0 && out.Now == "" {
		return nil, nothingOf(ctx, s, q)
	}
	if !c.whole {
		out.Partial = "what operations waited for is not told: the entries that lead to it are not all there; " +
			"the data folder of a stopped node tells more (--dir)"
	}
	out.Sentences = out.say(c)
	return out, nil
}

// nothingOf says which entries there are instead.
func nothingOf(ctx context.Context, s Source, q Question) error {
	name, first, last, err := Bounds(ctx, s)
	if err != nil {
		return err
	}
	what := "nothing of " + q.String()
	if q.Op != 0 {
		what = "no " + q.String() // an entry may have that number and admit none
	}
	return exit.With(exit.NotFound, "%s has %s in its entries %d to %d; see log ls", name, what, first, last)
}

// notFound reports whether err says that there is no such thing.
func notFound(err error) bool {
	told := (*wire.Error)(nil)
	return errors.As(err, &told) && told.Code == wire.CodeNotFound
}
