// Package build turns the source of a policy into a module, with the compiler of its language. A
// policy is a folder with one main file, by which its language is known:
//
//	main.go      Go               the toolchain of Go alone
//	policy.c     C                clang and wasm-ld 14 or newer
//	policy.rs    Rust, no_std     rustc with the target wasm32-unknown-unknown
//	policy.ts    AssemblyScript   asc, which npm installs
//	policy.wat   WAT              wat2wasm, of wabt
//
// It runs compilers and writes one file; it keeps nothing and may be used by several goroutines.
package build

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/datanode/datanode/plugins/guest"
)

// Lang is a language that policies are written in, by the word used in the command line.
type Lang string

// The languages.
const (
	Go             Lang = "go"
	C              Lang = "c"
	Rust           Lang = "rust"
	AssemblyScript Lang = "as"
	WAT            Lang = "wat"
)

// Langs are all languages, that which needs nothing but Go first.
func Langs() []Lang { return []Lang{Go, C, Rust, AssemblyScript, WAT} }

// Main is the name of a policy's main file.
func (l Lang) Main() string {
	switch l {
	case Go:
		return "main.go"
	case C:
		return "policy.c"
	case Rust:
		return "policy.rs"
	case AssemblyScript:
		return "policy.ts"
	case WAT:
		return "policy.wat"
	}
	return ""
}

// Install says what has to be installed to build policies in the language.
func (l Lang) Install() string {
	switch l {
	case Go:
		return "Go, from https://go.dev/dl"
	case C:
		return "clang and lld, 14 or newer: apt install clang lld"
	case Rust:
		return "rustc with the target wasm32-unknown-unknown: apt install rustc libstd-rust-dev-wasm32 lld-14, " +
			"or rustup target add wasm32-unknown-unknown"
	case AssemblyScript:
		return "Node.js 20 or newer, and then asc in the policy's folder or one above it: " +
			"npm install --save-dev assemblyscript@" + ascVersion
	case WAT:
		return "wabt: apt install wabt"
	}
	return ""
}

// LangOf tells the language of the policy in dir by its main file.
func LangOf(dir string) (Lang, error) {
	var found []Lang
	var want []string
	for _, l := range Langs() {
		want = append(want, l.Main())
		if _, err := os.Stat(filepath.Join(dir, l.Main())); err == nil {
			found = append(found, l)
		}
	}
	if len(found) != 1 {
		return "", fmt.Errorf("build: %s has %d of the files %s, want one", dir, len(found), strings.Join(want, ", "))
	}
	return found[0], nil
}

// MissingError says that the compiler of a language is not there.
type MissingError struct {
	Lang  Lang
	Tried []string
	// Locked is a folder whose package-lock.json names the compiler; "" for none.
	Locked string
}

func (e *MissingError) Error() string {
	install := e.Lang.Install()
	if e.Locked != "" {
		install = "Node.js 20 or newer, and then run npm ci in " + e.Locked
	}
	return fmt.Sprintf("no compiler for policies in %s (looked for %s); install %s", e.Lang, strings.Join(e.Tried, ", "),
		install)
}

// FailedError says that a compiler has refused the source.
type FailedError struct {
	Command string
	Output  string // what it printed
}

func (e *FailedError) Error() string { return e.Command + ":\n" + strings.TrimSpace(e.Output) }

// Options say what is built how. The zero value takes any compiler that will do.
type Options struct {
	// Pinned takes only those versions of the compilers that the modules in this repository are
	// built with, so that the same source gives the same bytes.
	Pinned bool
	// Node is a further folder to look for node_modules in; "" for none.
	Node string
}

// Policy builds the policy in dir into the file out. Where the folder has no binding of its own, it is
// built with that of this program. The error is a *MissingError where there is no compiler, a
// *FailedError where it refuses the source, and that of ctx where it was stopped.
func Policy(ctx context.Context, dir, out string, o Options) error {
	l, err := LangOf(dir)
	if err != nil {
		return err
	}
	if out, err = filepath.Abs(out); err != nil {
		return err
	}
	cmd, err := command(ctx, l, dir, out, o)
	if err != nil {
		return err
	}
	if l == Go {
		cmd.Dir = dir
		return run(ctx, cmd)
	}
	if cmd.Dir, err = stage(l, dir); err != nil {
		return err
	}
	return errors.Join(run(ctx, cmd), os.RemoveAll(cmd.Dir))
}

func run(ctx context.Context, cmd *exec.Cmd) error {
	text, err := cmd.CombinedOutput()
	if err != nil && ctx.Err() != nil {
		return ctx.Err() // it did not fail, it was stopped
	}
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return &FailedError{Command: strings.Join(cmd.Args, " "), Output: string(text)}
	}
	return err
}

// stage copies the folder's files and, under them, the binding to a folder of their own. The compiler
// sees the same names there wherever the policy lies, and so makes the same bytes of it.
func stage(l Lang, dir string) (staged string, err error) {
	files := guest.Binding(string(l))
	names, err := os.ReadDir(dir)
	if err != nil {
		return "", err
	}
	for _, e := range names {
		if !e.Type().IsRegular() || !isSource(e.Name()) {
			continue
		}
		if len(files) == maxFiles {
			return "", fmt.Errorf("build: more than %d files in %s", maxFiles, dir)
		}
		if files[e.Name()], err = os.ReadFile(filepath.Join(dir, e.Name())); err != nil {
			return "", err
		}
	}
	if staged, err = os.MkdirTemp("", "policy-*"); err != nil {
		return "", err
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(staged, name), text, 0o600); err != nil {
			return "", errors.Join(err, os.RemoveAll(staged))
		}
	}
	return staged, nil
}

// maxFiles of a policy, its binding's included.
const maxFiles = 256

func isSource(name string) bool {
	return slices.Contains([]string{".c", ".h", ".rs", ".ts", ".json", ".wat"}, filepath.Ext(name))
}
