package main

import (
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/datanode/datanode/cmd/datanode/internal/author"
	"github.com/datanode/datanode/cmd/datanode/internal/cli"
	"github.com/datanode/datanode/cmd/datanode/internal/term"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// withoutExamples are the commands that need none, and why.
var withoutExamples = map[string]string{
	"datanode version": "it takes nothing",
}

// TestExamples looks at the help of each command that does something: it has examples, each of which is a command line
// that this program takes. They are not carried out: what they name is not there.
func TestExamples(t *testing.T) {
	var leaves []*cobra.Command
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		for _, sub := range c.Commands() {
			walk(sub)
		}
		if !c.HasSubCommands() && !c.Hidden && c.Runnable() {
			leaves = append(leaves, c)
		}
	}
	walk(exampleRoot())
	if len(leaves) < 50 {
		t.Fatalf("%d commands found", len(leaves))
	}
	examples := 0
	for _, c := range leaves {
		if reason, exempt := withoutExamples[c.CommandPath()]; exempt == (c.Example != "") {
			t.Errorf("%s: has examples %q, and is exempt: %t %s", c.CommandPath(), c.Example, exempt, reason)
		}
		own := false
		for _, line := range exampleLines(c.Example) {
			examples++
			own = own || strings.HasPrefix(line+" ", c.CommandPath()+" ")
			tryExample(t, c, line)
		}
		if c.Example != "" && !own {
			t.Errorf("%s: none of its examples is of it: %q", c.CommandPath(), c.Example)
		}
	}
	t.Logf("%d commands, %d examples", len(leaves), examples)
}

func exampleRoot() *cobra.Command {
	return newRootCommand(app{cli.New(strings.NewReader(""), io.Discard, io.Discard, func(string) string { return "" })})
}

// exampleLines are the command lines in examples, without comments, pipes and what goes to files; a line that ends in a
// backslash goes on in the next one.
func exampleLines(text string) (lines []string) {
	for _, line := range strings.Split(strings.ReplaceAll(text, "\\\n", " "), "\n") {
		for _, part := range strings.Split(line, " | ") {
			if part = strings.TrimSpace(part); strings.HasPrefix(part, "datanode ") {
				for _, cut := range []string{" > ", " < ", " # ", " & ", "; "} {
					part, _, _ = strings.Cut(part, cut)
				}
				lines = append(lines, strings.TrimSpace(strings.TrimSuffix(part, "&")))
			}
		}
	}
	return lines
}

// tryExample takes an example as far as it can be without anything being done.
func tryExample(t *testing.T, of *cobra.Command, line string) {
	t.Helper()
	root := exampleRoot() // flags keep what they were given
	words := wordsOf(strings.ReplaceAll(line, `"`, "'"))
	cmd, args, err := root.Find(author.SingleDash(words[1:]))
	if err == nil && (cmd.HasSubCommands() || !cmd.Runnable()) {
		t.Errorf("%s: %q names a group, not a command", of.CommandPath(), line)
		return
	}
	if err == nil {
		err = cmd.ParseFlags(args)
	}
	if err == nil {
		err = cmd.ValidateArgs(cmd.Flags().Args())
	}
	if err == nil {
		err = cmd.ValidateRequiredFlags()
	}
	if err == nil {
		err = cmd.ValidateFlagGroups()
	}
	if err != nil {
		t.Errorf("%s: the example %q is not taken: %v", of.CommandPath(), line, err)
	}
	cmd.Flags().Visit(func(f *pflag.Flag) {
		if f.Name == "output" && !slices.Contains([]string{term.FormatTable, term.FormatJSON, term.FormatLines},
			f.Value.String()) {
			t.Errorf("%s: the example %q has an output that there is not", of.CommandPath(), line)
		}
	})
}
