package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"unicode"

	"github.com/datanode/datanode/cmd/datanode/internal/term"
	"github.com/datanode/datanode/wire"
)

// hostile is a text as a peer could send it: it clears the screen, and adds a row of its own.
const hostile = "\x1b[2Jev\u202eil  x\nn1  leader\u009b"

// What others say reaches a terminal through tables, descriptions, accounts and notes: nothing of it may move the
// cursor or add a line.
func TestHostileTextsAreShown(t *testing.T) {
	fields := []term.Field{{"operation", hostile}, {"state", "queued"}}
	columns := []term.Column[string]{term.Col("PEER", func(s string) string { return s })}
	o := wire.Op{
		ID: hostile, Kind: hostile, State: hostile, Node: hostile, Origin: hostile, Parent: hostile, By: hostile,
		Detail: hostile,
		Source: hostile, Target: hostile, Waits: []string{hostile}, Blocked: hostile,
		Steps: []wire.Step{{State: hostile, Note: hostile}},
		Decision: wire.Decision{Policy: hostile, Digest: hostile, Reason: hostile, Fallback: hostile,
			Facts:     []wire.Fact{{Name: hostile, Value: hostile}},
			Conflicts: []wire.Conflict{{With: hostile, Kind: hostile, Verdict: hostile, Reason: hostile}}},
	}
	plain := strings.Count(explained1(t, wire.Op{ID: "1", Kind: "x", State: "x", Node: "x", Origin: "x", Parent: "x",
		By: "x", Detail: "x",
		Source: "x", Target: "x", Waits: []string{"x"}, Blocked: "x", Steps: []wire.Step{{State: "x", Note: "x"}},
		Decision: wire.Decision{Policy: "x", Digest: "x", Reason: "x", Fallback: "x",
			Facts: []wire.Fact{{Name: "x", Value: "x"}}, Conflicts: []wire.Conflict{{With: "x", Kind: "x", Verdict: "x",
				Reason: "x"}}}}), "\n")
	for what, c := range map[string]struct {
		lines int
		print func(a *term.Terminal) error
	}{
		"table":   {2, func(a *term.Terminal) error { return term.List(a, term.Items([]string{hostile}), columns...) }},
		"show":    {2, func(a *term.Terminal) error { return term.Show(a, o, fields) }},
		"print":   {1, func(a *term.Terminal) error { return a.Print("%s", hostile) }},
		"explain": {plain, func(a *term.Terminal) error { return explain(a.Stdout, o) }},
		"failure": {1, func(a *term.Terminal) error {
			a.Stderr = a.Stdout
			a.Note("datanode: %s", term.OneLine(hostile))
			return nil
		}},
		"an error": {2, func(a *term.Terminal) error {
			a.Stderr = a.Stdout
			a.Note("datanode: %s", errors.New(hostile))
			return nil
		}},
		"json": {1, func(a *term.Terminal) error { a.Output = term.FormatLines; return term.Show(a, o, nil) }},
		"jsonl": {1, func(a *term.Terminal) error {
			a.Output = term.FormatLines
			return term.List(a, term.Items([]wire.Op{o}))
		}},
	} {
		var out bytes.Buffer
		if err := c.print(&term.Terminal{Stdout: &out, Output: term.FormatTable}); err != nil {
			t.Fatal(err)
		}
		text := out.String()
		if strings.ContainsFunc(text, func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }) {
			t.Errorf("%s: printed raw: %q", what, text)
		}
		if got := strings.Count(text, "\n"); got != c.lines {
			t.Errorf("%s: %d lines, want %d:\n%s", what, got, c.lines, text)
		}
	}
}

func explained1(t *testing.T, o wire.Op) string {
	t.Helper()
	var out bytes.Buffer
	if err := explain(&out, o); err != nil {
		t.Fatal(err)
	}
	return out.String()
}
