package logs

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/datanode/datanode/raftlog/state"
)

// The kinds of findings, the most suspicious first. They are a contract: only ever appended to.
const (
	FoundDamaged   = "damaged"   // entries or snapshots that are not as they were written
	FoundStuck     = "stuck"     // operations that are open for long
	FoundNode      = "node"      // nodes that are down, silent, behind, or come and go
	FoundOverruled = "overruled" // conflicts in which the policy's verdict was not allowed
	FoundFallback  = "fallback"  // decisions that the native default made in place of the policy
	FoundRefused   = "refused"   // commands that were refused again and again
	FoundFailed    = "failed"    // attempts and operations that failed again and again
	FoundLeaders   = "leaders"   // many leaders within a short time
	FoundClock     = "clock"     // clocks that were set, or that differ
	FoundGrowth    = "growth"    // entries that grow, and huge ones
	FoundNewer     = "newer"     // entries of a newer build, which this one cannot read
)

var suspicion = []string{FoundDamaged, FoundStuck, FoundNode, FoundOverruled, FoundFallback, FoundRefused, FoundFailed,
	FoundLeaders, FoundClock, FoundGrowth, FoundNewer}

// Finding is something that an engineer should look at.
type Finding struct {
	Kind    string   `json:"kind"`
	What    string   `json:"what"`
	Since   int64    `json:"since_time_micros,omitempty"` // when it was first seen
	Last    int64    `json:"last_time_micros,omitempty"`  // when it was last seen, of what repeats
	Until   int64    `json:"until_time_micros,omitempty"` // when it goes on by itself, where that is known
	Count   int      `json:"count"`
	Entries []uint64 `json:"entries"` // the first and the newest of those that say so; log show has them
	Do      string   `json:"do"`
}

// Diagnosis is what is suspicious in a log, in the order of suspicion.
type Diagnosis struct {
	Log      string    `json:"log"` // a node, a folder or a file
	First    uint64    `json:"first"`
	Last     uint64    `json:"last"`
	Entries  int       `json:"entries"` // that were looked at
	Now      int64     `json:"now_time_micros"`
	Findings []Finding `json:"findings"`
	// Partial says what cannot be told from this log, and from which it could.
	Partial string `json:"partial,omitempty"`
}

// Damaged reports whether something is not as it was written.
func (d *Diagnosis) Damaged() bool {
	return slices.ContainsFunc(d.Findings, func(f Finding) bool { return f.Kind == FoundDamaged })
}

// Complaints are from when on something is suspicious. Zero fields mean the defaults.
type Complaints struct {
	StuckAfter time.Duration // an operation that is open for so long; 10 minutes
	Repeats    int           // what is refused or fails so often in the same way; 3
}

const (
	defaultStuckAfter = 10 * time.Minute
	defaultRepeats    = 3
)

// Diagnose reads a range of a log. It keeps of it what has a bound, and the state that the entries come to.
func Diagnose(ctx context.Context, s Source, r Range, since time.Time, c Complaints) (*Diagnosis, error) {
	d := &diagnosing{complaints: Complaints{cmp.Or(c.StuckAfter, defaultStuckAfter), cmp.Or(c.Repeats, defaultRepeats)},
		refused: newRepeats(), failed: newRepeats(), overruled: newRepeats(), fallback: newRepeats(), falls: newRepeats()}
	var err error
	if d.out.Log, d.out.First, d.out.Last, err = Bounds(ctx, s); err != nil {
		return nil, err
	}
	if err := d.verify(ctx, s); err != nil {
		return nil, err
	}
	d.growth = newGrowth(max(d.out.First, r.From), d.out.Last)
	d.wholeState = true
	for one, err := range follow(ctx, s, r) {
		if err != nil {
			if d.out.Damaged() && ctx.Err() == nil {
				break // a file that was cut; the finding says where
			}
			return nil, err
		}
		d.last = one.st
		d.take(one, since.IsZero() || !time.UnixMicro(one.micros()).Before(since))
	}
	if err := d.present(ctx, s); err != nil {
		return nil, err
	}
	d.repeated()
	slices.SortStableFunc(d.out.Findings, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(slices.Index(suspicion, a.Kind), slices.Index(suspicion, b.Kind)),
			cmp.Compare(b.Count, a.Count))
	})
	return &d.out, nil
}

// diagnosing is a Diagnosis in the making.
type diagnosing struct {
	out        Diagnosis
	complaints Complaints
	last       *state.State // after the last entry; nil where it is not known
	wholeState bool         // it was known at every entry
	index      uint64
	micros     int64

	refused, failed, overruled, fallback *repeats
	falls                                *repeats // of nodes, by name
	damaged, newer                       repeat
	leaders                              leaders
	clocks                               clocks
	growth                               *growth
}

func (d *diagnosing) add(f Finding) { d.out.Findings = append(d.out.Findings, f) }

// verify has the log read as log verify does, and what is wrong with its snapshots told one by one.
func (d *diagnosing) verify(ctx context.Context, s Source) error {
	v, err := s.Verify(ctx)
	if err != nil {
		return err
	}
	d.out.Log = cmp.Or(v.Node, d.out.Log)
	if !v.OK {
		d.add(Finding{Kind: FoundDamaged, What: v.Detail, Count: 1, Do: "keep a copy of the folder as it is; log verify " +
			"says the same of the other nodes; docs/disasters.md says how a node gets a whole log again"})
	}
	return nil
}

// take notes what is suspicious about an entry; counts is false for one that only leads to the state.
func (d *diagnosing) take(one *step, counts bool) {
	d.index, d.micros = one.Index(), max(d.micros, one.micros())
	results := one.apply()
	if one.st == nil {
		d.wholeState = false
	}
	if !counts {
		return
	}
	at := place{one.Index(), one.micros()}
	d.out.Entries++
	if one.unreadable() {
		why := one.kind()
		if one.read != nil {
			why = one.read.Err.Error()
		}
		if one.isNewer() {
			d.newer.note(at, why)
		} else {
			d.damaged.note(at, why)
		}
		return
	}
	d.leaders.take(one.term(), at)
	d.clocks.take(one.Entry)
	d.growth.take(one)
	for i, cmd := range one.commands {
		var result *state.Result
		if i < len(results) {
			result = &results[i]
		}
		if cmd != nil {
			d.command(at, cmd, result)
		}
	}
}

func (d *diagnosing) command(at place, cmd state.Command, result *state.Result) {
	kind := cmd.CommandType().String()
	switch c := cmd.(type) {
	case *state.Admit:
		kind = c.Kind.String()
		d.decided(at, kind, &c.Decision)
	case *state.Rescore:
		d.decided(at, kind, &c.Decision)
	case *state.Finish:
		switch {
		case result != nil && result.Err != nil: // of an attempt that is over
			return
		case c.Outcome == state.OutcomeFail || c.Outcome == state.OutcomeRetry:
			what := "attempts are to be made again"
			if c.Outcome == state.OutcomeFail {
				what = "operations failed"
			}
			d.failed.note(what+": "+orElse(c.Detail, "no reason was given"), at)
		}
		return
	case *state.SetNodeState:
		if c.State == state.NodeDown {
			d.falls.noteAs(string(c.Node), string(c.Node), at)
		}
	}
	if result != nil && result.Err != nil && !result.Stale {
		d.refused.note(fmt.Sprintf("%s: %s", kind, result.Err.Detail), at)
	}
	if result != nil && len(result.Refused) > 0 {
		d.refused.note(fmt.Sprintf("%s: %s", kind, result.Refused[0].Err.Detail), at)
	}
}

// decided notes what is suspicious about a decision.
func (d *diagnosing) decided(at place, kind string, made *state.Decision) {
	if made.Fallback != "" {
		d.fallback.note(made.Fallback, at)
	}
	for _, k := range made.Conflicts {
		if k.Asked != k.Final {
			d.overruled.note(fmt.Sprintf("policy %s answered %s when a %s met a %s, and it became %s",
				ShortDigest(made.Policy), k.Asked, kind, k.WithKind, k.Final), at)
		}
	}
}
