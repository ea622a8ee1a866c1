package author

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/datanode/datanode/cmd/datanode/internal/cli"
	"github.com/datanode/datanode/cmd/datanode/internal/exit"
	"github.com/datanode/datanode/cmd/datanode/internal/term"
	"github.com/datanode/datanode/plugins"
	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/policies/policytest/cases"
	"github.com/spf13/cobra"
)

const (
	maxCasesBytes = 16 << 20
	// configLine begins a file of cases that are about a configuration.
	configLine = "# config:"
)

// policyTestFields are all fields of a case, with a value each.
const policyTestFields = `  phase=running by=decommission class=gold live=1 want=3 length=1048576 open waiting=10m
  now=2024-05-01T12:00:00Z attempts=1 extent=7 index=4711 place=3 queued=100 running=8
  same=2, and same-node in a conflict`

const policyTestHelp = `Hold a policy against files of cases, such as:

  score repair live=1 want=3 waiting=10m -> 11060 repair: one live copy is left
  conflict repair phase=running | delete -> supersede a delete ends the work on what it deletes

Facts stand on the left: a kind of operation, and what differs from one of a user on a healthy, sealed extent with
three copies, such as

` + policyTestFields + `

The answer stands on the right: a priority or a verdict, and its reason. A line without an answer gets one by
--rewrite. A file that begins with "# config: KEY=VALUE KEY=VALUE" is about a policy so configured; --config stands
above it. Without CASES those in the folders cases and configured beside the policy are taken. A case that is answered
otherwise is shown with what was wanted (-) and what came (+), and the exit code is 1.

`

// tested is one case of policy test.
type tested struct {
	File  string `json:"file"`
	Line  int    `json:"line"`
	Asked string `json:"asked"`
	Want  string `json:"want"`
	Got   string `json:"got"`
	OK    bool   `json:"ok"`
	// Failed says that the policy did not answer, and Got why.
	Failed bool `json:"failed,omitempty"`
}

func newPolicyTestCommand(a tools) *cobra.Command {
	var t policyTest
	var flags offlineFlags
	cmd := &cobra.Command{
		Use: "test [MODULE] [CASES ...]", Short: "Hold a policy against cases written as text, without a cell",
		Args: cli.Takes(0, -1),
		Example: "  datanode policy test\n  datanode policy test my-policy --rewrite\n" +
			"  datanode policy test mine.wasm cases/*.txt --config class=gold",
		Long: policyTestHelp + moduleHelp,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := a.Bounded(cmd.Context())
			defer cancel()
			o, err := flags.parse()
			if err != nil {
				return err
			}
			t.tools, t.offline = a, o
			return a.TimedOut(ctx, t.run(ctx, argOr(args, "."), args[min(1, len(args)):]))
		},
		ValidArgsFunction: completeCases,
	}
	cmd.Flags().BoolVar(&t.rewrite, "rewrite", false, "write the policy's answers into the files, for a diff to be read")
	flags.add(cmd)
	return cmd
}

func completeCases(cmd *cobra.Command, args []string, text string) ([]string, cobra.ShellCompDirective) {
	if len(args) == 0 {
		return CompleteModules(cmd, args, text)
	}
	return []string{"txt"}, cobra.ShellCompDirectiveFilterFileExt
}

// SingleDash lets -rewrite stand for --rewrite, as it does in the tests of this program.
func SingleDash(args []string) []string {
	if len(args) < 2 || args[0] != "policy" || args[1] != "test" {
		return args
	}
	args = slices.Clone(args)
	for i, arg := range args {
		if arg == "-rewrite" {
			args[i] = "--rewrite"
		}
	}
	return args
}

// policyTest is one run of policy test.
type policyTest struct {
	tools
	offline // its configuration is of all files; theirs stands below it
	rewrite bool

	all    []tested
	files  int
	others int // cases that were answered otherwise
	failed int // and those that were not answered

	counters map[string]int64 // that the policy, however configured, has added to
}

// caseFile is a file of cases with the configuration that it asks for.
type caseFile struct {
	name   string
	text   []byte
	parsed *cases.File
	config map[string]string
}

func (t *policyTest) run(ctx context.Context, module string, names []string) error {
	files, err := t.read(ctx, module, names)
	if err != nil {
		return err
	}
	compiled, err := t.moduleOf(ctx, module)
	if err != nil {
		return err
	}
	err = t.withHost(ctx, t.budget, func(h *plugins.Host) error {
		for _, group := range byConfig(files) {
			err := withPolicy(ctx, h, compiled, group[0].config, func(p policies.Policy) error { return t.try(ctx, p, group) })
			if err != nil && len(group[0].config) > 0 {
				err = fmt.Errorf("with the configuration %s: %w", policies.ConfigText(group[0].config), err)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return t.conclude()
}

// read reads the cases before anything is built: a mistake in them is found at once.
func (t *policyTest) read(ctx context.Context, module string, names []string) ([]caseFile, error) {
	if len(names) == 0 {
		var err error
		if names, err = casesBeside(module); err != nil {
			return nil, err
		}
	}
	files := make([]caseFile, len(names))
	for i, name := range names {
		if IsDir(name) {
			return nil, exit.Usagef("%s is a folder; name the files of cases in it: %s", name, filepath.Join(name, "*.txt"))
		}
		text, err := t.ReadWhole(ctx, name, maxCasesBytes)
		if err != nil {
			return nil, err
		}
		f := &files[i]
		f.name, f.text = name, text
		if f.parsed, err = cases.Parse(name, text); err != nil {
			return nil, exit.Usagef("%w", err)
		}
		if f.config, err = configOf(text); err != nil {
			return nil, exit.Usagef("%s:1: %w", name, err)
		}
		maps.Copy(f.config, t.config)
	}
	return files, nil
}

// casesBeside are the cases in the folder of a policy, or that of its module.
func casesBeside(module string) ([]string, error) {
	if module == moduleNative || module == moduleDefault || module == "-" {
		return nil, exit.Usagef("which cases for %s? Name their files after it: datanode policy test %[1]s cases/*.txt",
			module)
	}
	if _, err := os.Stat(module); errors.Is(err, fs.ErrNotExist) {
		return nil, exit.With(exit.NotFound, "there is no file or folder %s", module)
	}
	dir := module
	if !IsDir(module) {
		dir = filepath.Dir(module)
	}
	var names []string
	for _, folder := range []string{"cases", "configured"} {
		found, err := filepath.Glob(filepath.Join(globEscaper.Replace(dir), folder, "*.txt"))
		if err != nil {
			return nil, err
		}
		names = append(names, found...)
	}
	if len(names) == 0 {
		return nil, exit.Usagef("which cases for %s? None are named, and there is no %s", module,
			filepath.Join(dir, "cases", "*.txt"))
	}
	return names, nil
}

var globEscaper = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`)

// configOf reads the configuration in the first line of a file of cases.
func configOf(text []byte) (map[string]string, error) {
	line, _, _ := strings.Cut(string(text), "\n")
	rest, _ := strings.CutPrefix(line, configLine)
	if rest == line {
		return map[string]string{}, nil
	}
	return ParseConfig(strings.Fields(rest))
}

// byConfig puts files with the same configuration together, so that a module is compiled once for each, and
// else leaves their order.
func byConfig(files []caseFile) [][]caseFile {
	var groups [][]caseFile
	for _, f := range files {
		i := slices.IndexFunc(groups, func(g []caseFile) bool { return maps.Equal(g[0].config, f.config) })
		if i < 0 {
			i, groups = len(groups), append(groups, nil)
		}
		groups[i] = append(groups[i], f)
	}
	return groups
}

func (t *policyTest) try(ctx context.Context, p policies.Policy, files []caseFile) error {
	if m, ok := p.(*plugins.Module); ok {
		defer func() { t.count(m.Counters()) }()
	}
	for _, f := range files {
		outcomes, err := f.parsed.Run(ctx, p)
		if err != nil {
			return err
		}
		t.files++
		for _, o := range outcomes {
			t.all = append(t.all, tested{File: o.File, Line: o.Line, Asked: o.Asked, Want: o.Want, Got: o.Got, OK: o.OK(),
				Failed: o.Failed})
			switch {
			case o.OK():
				continue
			case o.Failed:
				t.failed++
			default:
				t.others++
			}
			if err := t.differs(o); err != nil {
				return err
			}
		}
		if !t.rewrite {
			continue
		}
		if after := f.parsed.Rewrite(outcomes); !bytes.Equal(after, f.text) {
			if err := os.WriteFile(f.name, after, term.NewFileMode(f.name)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (t *policyTest) count(counters map[string]int64) {
	if t.counters == nil {
		t.counters = map[string]int64{}
	}
	for name, n := range counters {
		t.counters[name] += n
	}
}

// differs shows a case that was answered otherwise, also when its answer is taken over.
func (t *policyTest) differs(o cases.Outcome) error {
	if t.Output != term.FormatTable {
		return nil // all are listed in the end
	}
	want := o.Want
	switch {
	case want == "" && o.Failed:
		want = "(any answer)"
	case want == "":
		want = "(no answer yet: --rewrite takes over what came)"
	}
	return t.Print("%s:%d: %s\n  - %s\n  + %s", o.File, o.Line, o.Asked, want, o.Got)
}

func (t *policyTest) conclude() error {
	if t.Output != term.FormatTable {
		if err := term.List[tested](t.Terminal, term.Items(t.all)); err != nil {
			return err
		}
	}
	if len(t.counters) > 0 {
		t.Note("counted: %s", CountersText(t.counters))
	}
	all, unanswered := plural(len(t.all), "case"), ""
	if t.failed > 0 {
		unanswered = plural(t.failed, "case") + " of " + term.Count(len(t.all)) + " got no answer"
	}
	switch {
	case t.rewrite:
		t.Note("%s in %s, %s rewritten", all, plural(t.files, "file"), plural(t.others, "answer"))
		if t.failed > 0 {
			return exit.With(exit.Failed, "%s; their lines are left as they are", unanswered)
		}
	case len(t.all) == 0:
		return exit.With(exit.Failed, "%s without any case", plural(t.files, "file"))
	case t.others > 0 && t.failed > 0:
		return exit.With(exit.Failed, "%s, and %d another one; --rewrite takes over those that there are", unanswered,
			t.others)
	case t.failed > 0:
		return exit.With(exit.Failed, "%s", unanswered)
	case t.others > 0:
		return exit.With(exit.Failed, "%d of %s got another answer; --rewrite takes it over", t.others, all)
	default:
		t.Note("%s in %s, all as wanted", all, plural(t.files, "file"))
	}
	return nil
}

func plural(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}
