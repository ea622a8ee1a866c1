package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode"

	"github.com/datanode/datanode/wire"
	"pgregory.net/rapid"
)

func TestPrintable(t *testing.T) {
	for s, want := range map[string]string{
		"":                         "",
		"plain – 日本語 'é'":          "plain – 日本語 'é'",
		"\x1b[31mred":              `\x1b[31mred`,
		"a\nn1  up\r\x00\x7f":      `a\nn1  up\r\x00\x7f`,
		"\u009b1mC1 \u202eright":   `\u009b1mC1 \u202eright`,
		"half \xc3":                `half \xc3`,
		"\xff":                     `\xff`,
		"kept: \ufffd \\x1b":       "kept: \ufffd \\x1b",
		"a tag\U000e0001 of space": `a tag\U000e0001 of space`,
	} {
		if got := printable(s); got != want {
			t.Errorf("%q became %s, want %s", s, got, want)
		}
	}
	if got := printableLines("two\n\tlines\x07"); got != "two\n\tlines\\a" {
		t.Errorf("lines became %q", got)
	}
}

func TestPrintableAlways(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := string(rapid.SliceOf(rapid.Byte()).Draw(t, "bytes"))
		once := printable(s)
		if strings.ContainsFunc(once, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Fatalf("%q became %q", s, once)
		}
		if twice := printable(once); twice != once {
			t.Fatalf("%q became %q, and that %q", s, once, twice)
		}
		text, err := jsonText(s, "", "")
		want, _ := json.Marshal(s)
		var got, plain string
		if err != nil || json.Unmarshal([]byte(text), &got) != nil || json.Unmarshal(want, &plain) != nil || got != plain {
			t.Fatalf("%q became %s", s, text)
		}
		if strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Fatalf("%q became %q", s, text)
		}
	})
}

// hostile is a text as a peer could send it: it clears the screen, and adds a row of its own.
const hostile = "\x1b[2Jev\u202eil  x\nn1  leader\u009b"

// What others say reaches a terminal through tables, descriptions, accounts and notes: nothing of it may move the
// cursor or add a line.
func TestHostileTextsAreShown(t *testing.T) {
	fields := []field{{"operation", hostile}, {"state", "queued"}}
	columns := []column[string]{{"PEER", func(s string) string { return s }}}
	o := wire.Op{
		ID: hostile, Kind: hostile, State: hostile, Node: hostile, Origin: hostile, Parent: hostile, By: hostile, Detail: hostile,
		Source: hostile, Target: hostile, Waits: []string{hostile}, Blocked: hostile, Steps: []wire.Step{{State: hostile, Note: hostile}},
		Decision: wire.Decision{Policy: hostile, Digest: hostile, Reason: hostile, Fallback: hostile,
			Facts: []wire.Fact{{Name: hostile, Value: hostile}}, Conflicts: []wire.Conflict{{With: hostile, Kind: hostile, Verdict: hostile, Reason: hostile}}},
	}
	plain := strings.Count(explained1(t, wire.Op{ID: "1", Kind: "x", State: "x", Node: "x", Origin: "x", Parent: "x", By: "x", Detail: "x",
		Source: "x", Target: "x", Waits: []string{"x"}, Blocked: "x", Steps: []wire.Step{{State: "x", Note: "x"}},
		Decision: wire.Decision{Policy: "x", Digest: "x", Reason: "x", Fallback: "x",
			Facts: []wire.Fact{{Name: "x", Value: "x"}}, Conflicts: []wire.Conflict{{With: "x", Kind: "x", Verdict: "x", Reason: "x"}}}}), "\n")
	for what, c := range map[string]struct {
		lines int
		print func(a *app) error
	}{
		"table":    {2, func(a *app) error { return list(a, items([]string{hostile}), columns...) }},
		"show":     {2, func(a *app) error { return show(a, o, fields) }},
		"print":    {1, func(a *app) error { return a.print("%s", hostile) }},
		"explain":  {plain, func(a *app) error { return explain(a.stdout, o) }},
		"failure":  {1, func(a *app) error { a.stderr = a.stdout; a.note("datanode: %s", oneLine(hostile)); return nil }},
		"an error": {2, func(a *app) error { a.stderr = a.stdout; a.note("datanode: %s", errors.New(hostile)); return nil }},
		"json":     {1, func(a *app) error { a.output = outputLines; return show(a, o, nil) }},
		"jsonl":    {1, func(a *app) error { a.output = outputLines; return list(a, items([]wire.Op{o})) }},
	} {
		var out bytes.Buffer
		if err := c.print(&app{stdout: &out, output: outputTable}); err != nil {
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
