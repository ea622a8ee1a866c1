// Package cases runs a policy on cases written as text, one a line: facts on the left, the answer on
// the right. It is what `datanode policy test` and the examples' tests use.
//
//	# A last copy goes before everything.
//	score repair live=1 want=3 waiting=10m -> 11060 repair: one live copy is left
//	score move by=decommission -> 1000 move: a node is being emptied
//
//	# A delete ends a running repair.
//	conflict repair phase=running | delete -> supersede a delete ends the work on what it deletes
//	conflict move | move same-node -> merge asked twice
//	conflict delete | repair -> coexist overruled to reject: so it should be
//
// A line begins with what is asked, then come the facts: a kind, and fields that differ from those
// of a healthy, sealed extent with three copies. For a conflict, the existing operation stands before
// the bar and the incoming one behind it. An answer is a priority or verdict and its reason; a
// verdict outside of the envelope is marked with what the cell does instead.
package cases

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/datanode/datanode/policies"
)

// maxCases of one file.
const maxCases = 10_000

// File is a parsed file of cases.
type File struct {
	name  string
	lines []string
	cases []parsed
}

// parsed is one case: a score unless pair is set.
type parsed struct {
	line  int // index into File.lines
	asked string
	want  string
	pair  bool
	facts policies.Facts // of a score
	both  policies.Pair  // of a conflict
}

// Outcome is what a policy answered in one case.
type Outcome struct {
	File  string
	Line  int    // counted from 1
	Asked string // the left side
	Want  string // the right side; empty where the case does not say
	Got   string
	// Failed says that there was no answer, and Got why.
	Failed bool
}

// OK reports whether the answer is the wanted one.
func (o Outcome) OK() bool { return !o.Failed && o.Want == o.Got }

func (o Outcome) String() string {
	if o.OK() {
		return fmt.Sprintf("%s:%d: ok: %s -> %s", o.File, o.Line, o.Asked, o.Got)
	}
	return fmt.Sprintf("%s:%d: %s\n  want: %s\n  got:  %s", o.File, o.Line, o.Asked, o.Want, o.Got)
}

// Parse reads a file of cases. The name is in errors and outcomes.
func Parse(name string, text []byte) (*File, error) {
	f := &File{name: name, lines: strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")}
	for i, line := range f.lines {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		if len(f.cases) == maxCases {
			return nil, fmt.Errorf("%s:%d: more than %d cases", name, i+1, maxCases)
		}
		c, err := parseCase(line)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", name, i+1, err)
		}
		c.line = i
		f.cases = append(f.cases, c)
	}
	return f, nil
}

func parseCase(line string) (c parsed, err error) {
	asked, want, _ := strings.Cut(line, "->")
	c.asked, c.want = strings.TrimSpace(asked), strings.TrimSpace(want)
	words := strings.Fields(c.asked)
	if len(words) == 0 {
		return c, errors.New("nothing is asked before ->")
	}
	switch words[0] {
	case "score":
		c.facts, _, err = parseFacts(words[1:], policies.PhaseQueued, false)
		return c, err
	case "conflict":
		c.pair = true
		c.both, err = parsePair(words[1:])
		return c, err
	}
	return c, fmt.Errorf("%q is asked, want score or conflict", words[0])
}

// Run asks p about all cases, scores in one batch and conflicts in another, and gives an outcome for
// each, in the order of the file. If it fails in a batch, it is asked case by case, so that one which
// makes it fail is found and the others have their answers. The error says that ctx has ended, or that it only
// fails when asked about several at once.
func (f *File) Run(ctx context.Context, p policies.Policy) ([]Outcome, error) {
	info := p.Info()
	outcomes := make([]Outcome, len(f.cases))
	var scores, conflicts []int // indexes into cases
	for i := range f.cases {
		c := &f.cases[i]
		outcomes[i] = Outcome{File: f.name, Line: c.line + 1, Asked: c.asked, Want: c.want}
		if c.pair {
			conflicts = append(conflicts, i)
		} else {
			scores = append(scores, i)
		}
	}
	askScores := func(which []int) error { return f.askScores(ctx, p, outcomes, which) }
	if err := inBatchOrAlone(ctx, info, outcomes, scores, askScores); err != nil {
		return nil, fmt.Errorf("%s: score: %w", f.name, err)
	}
	askConflicts := func(which []int) error { return f.askConflicts(ctx, p, outcomes, which) }
	if err := inBatchOrAlone(ctx, info, outcomes, conflicts, askConflicts); err != nil {
		return nil, fmt.Errorf("%s: conflict: %w", f.name, err)
	}
	return outcomes, nil
}

// inBatchOrAlone asks about the cases at which, and about each alone if that fails.
func inBatchOrAlone(ctx context.Context, info policies.Info, outcomes []Outcome, which []int,
	ask func(which []int) error) error {
	if len(which) == 0 {
		return nil
	}
	inBatch := ask(which)
	if inBatch == nil {
		return nil
	}
	failed := false
	for n, i := range which {
		err := ask(which[n : n+1])
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			failed = true
			outcomes[i].Failed, outcomes[i].Got = true, strings.TrimPrefix(err.Error(), "policy "+info.Name+": ")
		}
	}
	if !failed {
		return fmt.Errorf("it answers %d cases one by one, but not all at once: %w", len(which), inBatch)
	}
	return nil
}

func (f *File) askScores(ctx context.Context, p policies.Policy, outcomes []Outcome, which []int) error {
	facts, scores := make([]policies.Facts, len(which)), make([]policies.Score, len(which))
	for n, i := range which {
		facts[n] = f.cases[i].facts
	}
	if _, err := p.Score(ctx, facts, scores); err != nil {
		return err
	}
	for n, i := range which {
		outcomes[i].Got = fmt.Sprintf("%d %s", scores[n].Priority, p.Info().Reason(scores[n].Reason))
	}
	return nil
}

func (f *File) askConflicts(ctx context.Context, p policies.Policy, outcomes []Outcome, which []int) error {
	pairs, resolutions := make([]policies.Pair, len(which)), make([]policies.Resolution, len(which))
	for n, i := range which {
		pairs[n] = f.cases[i].both
	}
	if _, err := p.Conflict(ctx, pairs, resolutions); err != nil {
		return err
	}
	for n, i := range which {
		outcomes[i].Got = describe(p.Info(), &pairs[n], resolutions[n])
	}
	return nil
}

func describe(info policies.Info, p *policies.Pair, r policies.Resolution) string {
	reason := info.Reason(r.Reason)
	final, overruled := policies.Judge(p.Existing.Kind, p.Incoming.Kind, p.SameNode, r.Verdict)
	if overruled {
		return fmt.Sprintf("%v overruled to %v: %s", r.Verdict, final, reason)
	}
	return fmt.Sprintf("%v %s", r.Verdict, reason)
}

// Rewrite is the file with the answers that outcomes got, for a diff to be read. Where there was none, the line
// stays as it is.
func (f *File) Rewrite(outcomes []Outcome) []byte {
	lines := append([]string(nil), f.lines...)
	for _, o := range outcomes {
		if !o.Failed {
			lines[o.Line-1] = o.Asked + " -> " + o.Got
		}
	}
	var buf bytes.Buffer
	for _, line := range lines {
		buf.WriteString(line + "\n")
	}
	return buf.Bytes()
}
