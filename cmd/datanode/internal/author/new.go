package author

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/datanode/datanode/cmd/datanode/internal/cli"
	"github.com/datanode/datanode/cmd/datanode/internal/exit"
	"github.com/datanode/datanode/cmd/datanode/internal/term"
	"github.com/datanode/datanode/plugins/guest/build"
	"github.com/datanode/datanode/plugins/guest/scaffold"
	"github.com/spf13/cobra"
)

// Created is what policy new says of what it wrote.
type Created struct {
	Name  string     `json:"name"`
	Lang  build.Lang `json:"lang"`
	Dir   string     `json:"dir"`
	Files []string   `json:"files"` // in it
}

func newPolicyNewCommand(a tools) *cobra.Command {
	var lang string
	langs := langWords()
	cmd := &cobra.Command{
		Use: "new NAME", Short: "Write a folder with a policy to begin with", Args: cli.Takes(1, 1),
		Long: "Write a folder NAME that builds as it stands: a small policy, its cases, " +
			"a README and the binding of its language. " +
			"In Go it needs nothing but Go. NAME may be a path; its last part names the policy: " +
			"a to z, 0 to 9, hyphens and dots.",
		Example: "  datanode policy new my-policy\n  datanode policy new --lang rust policies/my-policy",
		RunE: func(_ *cobra.Command, args []string) error {
			l := build.Lang(lang)
			if !slices.Contains(build.Langs(), l) {
				return exit.Usagef("--lang %s: want %s", lang, strings.Join(langs, ", "))
			}
			return a.newPolicy(args[0], l)
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	cmd.Flags().StringVar(&lang, "lang", string(build.Go), "what it is written in: "+strings.Join(langs, ", "))
	mustComplete(cmd, "lang", langs)
	return cmd
}

func langWords() []string {
	var words []string
	for _, l := range build.Langs() {
		words = append(words, string(l))
	}
	return words
}

// mustComplete completes the values of a flag that cmd has.
func mustComplete(cmd *cobra.Command, flag string, words []string) {
	if err := cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(words,
		cobra.ShellCompDirectiveNoFileComp)); err != nil {
		panic("datanode: " + err.Error()) // there is no such flag
	}
}

func (a tools) newPolicy(dir string, l build.Lang) error {
	dir = filepath.Clean(dir)
	name := filepath.Base(dir)
	files, err := scaffold.Write(dir, l, name)
	wrong, exists := (*scaffold.NameError)(nil), (*scaffold.ExistsError)(nil)
	switch {
	case errors.As(err, &wrong):
		return exit.Usagef("%w", err)
	case errors.As(err, &exists):
		return exit.With(exit.Refused, "%w; nothing was written", err)
	case err != nil:
		return err
	}
	if err := term.Show(a.Terminal, Created{name, l, dir, files}, []term.Field{
		{"folder", dir}, {"policy", filepath.Join(dir, l.Main())}, {"cases", filepath.Join(dir, "cases")},
		{"read first", filepath.Join(dir, "README.md")},
	}); err != nil {
		return err
	}
	a.Note("\nNext:\n  cd %s", dir)
	if l == build.AssemblyScript {
		a.Note("  npm ci                     # brings its compiler")
	}
	a.Note("  datanode policy test       # build it, and hold it against its cases\n"+
		"  datanode policy build      # make %s.wasm\n"+
		"  datanode policy check %[1]s.wasm\n"+
		"  datanode policy load %[1]s.wasm --activate", name)
	return nil
}

// builtModule is what policy build says of a module.
type builtModule struct {
	File   string     `json:"file"`
	Lang   build.Lang `json:"lang"`
	Bytes  int        `json:"bytes"`
	Digest string     `json:"digest"`
	Nanos  int64      `json:"ns"`
}

func newPolicyBuildCommand(a tools) *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use: "build [DIR]", Short: "Make a module of the policy in a folder", Args: cli.Takes(0, 1),
		Long: "Make a module of the policy in a folder, by default this one, with the compiler of its language: " +
			"main.go, policy.c, policy.rs, policy.ts or policy.wat. " +
			"Go will always do; where another compiler is missing, exit code 4 says what to install.\n\n" +
			"-o takes a FILE.wasm too, as compilers do.",
		Example: "  datanode policy build\n  datanode policy build my-policy -f out.wasm\n" +
			"  datanode policy build my-policy -o json",
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			if strings.HasSuffix(a.Output, moduleSuffix) && !cmd.Flags().Changed("file") {
				out, a.Output = a.Output, term.FormatTable
			}
			return a.Check()
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := a.Bounded(cmd.Context())
			defer cancel()
			return a.TimedOut(ctx, a.build(ctx, slices.Concat(args, []string{"."})[0], out))
		},
		ValidArgsFunction: completeDirs,
	}
	cmd.Flags().StringVarP(&out, "file", "f", "", "the module (default: DIR/NAME.wasm, NAME being that of the folder)")
	return cmd
}

func completeDirs(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return nil, cobra.ShellCompDirectiveFilterDirs
}

const moduleSuffix = ".wasm"

func (a tools) build(ctx context.Context, dir, out string) error {
	if out == "" {
		name, err := filepath.Abs(dir)
		if err != nil {
			return err
		}
		out = filepath.Join(dir, filepath.Base(name)+moduleSuffix)
	}
	began := time.Now()
	l, err := a.compile(ctx, dir, out)
	if err != nil {
		return err
	}
	b := builtModule{File: out, Lang: l, Nanos: int64(time.Since(began))}
	module, err := os.ReadFile(out) //nolint:gosec // the caller's own
	if err != nil {
		return err
	}
	b.Bytes, b.Digest = len(module), digestOf(module)
	return term.Show(a.Terminal, b, []term.Field{
		{"file", b.File}, {"language", string(b.Lang)}, {"bytes", term.Count(b.Bytes)}, {"digest", b.Digest},
		{"took", time.Duration(b.Nanos).Round(time.Millisecond).String()},
	})
}

// compile builds the policy in dir. What a compiler has to say about the source goes to stderr as it is.
func (a tools) compile(ctx context.Context, dir, out string) (build.Lang, error) {
	if info, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return "", exit.With(exit.NotFound, "there is no folder %s", dir)
	} else if err == nil && !info.IsDir() {
		return "", exit.Usagef("%s is a file; want the folder that it is in", dir)
	}
	l, err := build.LangOf(dir)
	if err != nil {
		return "", exit.Usagef("%w; policy new writes a folder with one", err)
	}
	err = build.Policy(ctx, dir, out, build.Options{})
	missing, failed := (*build.MissingError)(nil), (*build.FailedError)(nil)
	switch {
	case errors.As(err, &missing):
		return "", exit.With(exit.Refused, "%w", err)
	case errors.As(err, &failed):
		a.Note("%s", strings.TrimSpace(failed.Output))
		return "", exit.With(exit.Failed, "%s does not build; its compiler says why above", filepath.Join(dir, l.Main()))
	}
	return l, err
}
