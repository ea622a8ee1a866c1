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
}

// OK tells whether the answer is the wanted one.
func (o Outcome) OK() bool { return o.Want == o.Got }

func (o Outcome) String() string {
	if o.OK() {
		return fmt.Sprintf("%s:%d: ok: %s -> %s", o.File, o.Line, o.Asked, o.Got)
	}
	return fmt.Sprintf("%s:%d: %s\n  want: %s\n  got:  %s", o.File, o.Line, o.Asked, o.Want, o.Got)
}

// Parse reads a file of cases. The name stands in errors and outcomes.
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
// each, in the order of the file.
func (f *File) Run(ctx context.Context, p policies.Policy) ([]Outcome, error) {
	var facts []policies.Facts
	var pairs []policies.Pair
	for i := range f.cases {
		if c := &f.cases[i]; c.pair {
			pairs = append(pairs, c.both)
		} else {
			facts = append(facts, c.facts)
		}
	}
	scores, resolutions := make([]policies.Score, len(facts)), make([]policies.Resolution, len(pairs))
	if _, err := p.Score(ctx, facts, scores); err != nil {
		return nil, fmt.Errorf("%s: score: %w", f.name, err)
	}
	if _, err := p.Conflict(ctx, pairs, resolutions); err != nil {
		return nil, fmt.Errorf("%s: conflict: %w", f.name, err)
	}
	return f.outcomes(p.Info(), scores, resolutions), nil
}

func (f *File) outcomes(info policies.Info, scores []policies.Score, resolutions []policies.Resolution) []Outcome {
	outcomes := make([]Outcome, 0, len(f.cases))
	for i := range f.cases {
		c := &f.cases[i]
		o := Outcome{File: f.name, Line: c.line + 1, Asked: c.asked, Want: c.want}
		if c.pair {
			o.Got = describe(info, &c.both, resolutions[0])
			resolutions = resolutions[1:]
		} else {
			o.Got = fmt.Sprintf("%d %s", scores[0].Priority, info.Reason(scores[0].Reason))
			scores = scores[1:]
		}
		outcomes = append(outcomes, o)
	}
	return outcomes
}

func describe(info policies.Info, p *policies.Pair, r policies.Resolution) string {
	reason := info.Reason(r.Reason)
	final, overruled := policies.Judge(p.Existing.Kind, p.Incoming.Kind, p.SameNode, r.Verdict)
	if overruled {
		return fmt.Sprintf("%v overruled to %v: %s", r.Verdict, final, reason)
	}
	return fmt.Sprintf("%v %s", r.Verdict, reason)
}

// Rewrite is the file with the answers that outcomes got, for a diff to be read.
func (f *File) Rewrite(outcomes []Outcome) []byte {
	lines := append([]string(nil), f.lines...)
	for _, o := range outcomes {
		lines[o.Line-1] = o.Asked + " -> " + o.Got
	}
	var buf bytes.Buffer
	for _, line := range lines {
		buf.WriteString(line + "\n")
	}
	return buf.Bytes()
}
