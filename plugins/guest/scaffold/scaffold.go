// Package scaffold makes folders to begin a policy with: the source of a small one, its cases, a README,
// and the binding of its language, so that it builds as it stands. The policy is the same in every language
// and is held against the same cases.
//
// The templates are the files of a policy called my-policy; whatever else it is called is written over that.
package scaffold

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/datanode/datanode/plugins/guest"
	"github.com/datanode/datanode/plugins/guest/build"
)

//go:embed templates
var templates embed.FS // never written to

const (
	templateName = "my-policy"
	// maxNameBytes is what the ABI allows.
	maxNameBytes = 64
)

// NameError says that a policy cannot be called so.
type NameError struct{ Name, Want string }

func (e *NameError) Error() string {
	return fmt.Sprintf("a policy cannot be called %q: want %s", e.Name, e.Want)
}

// CheckName tells whether a policy, and its folder, can be called so.
func CheckName(name string) error {
	if name == "" || len(name) > maxNameBytes {
		return &NameError{name, fmt.Sprintf("1 to %d characters", maxNameBytes)}
	}
	for _, c := range []byte(name) {
		if !isAlphanumeric(c) && c != '-' && c != '.' {
			return &NameError{name, "only a to z, 0 to 9, hyphens and dots"}
		}
	}
	if !isAlphanumeric(name[0]) {
		return &NameError{name, "a letter or a digit at its beginning"}
	}
	return nil
}

func isAlphanumeric(c byte) bool { return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' }

// Files are the files of a new policy by their names in its folder, with slashes.
func Files(l build.Lang, name string) (map[string][]byte, error) {
	if err := CheckName(name); err != nil {
		return nil, err
	}
	if !slices.Contains(build.Langs(), l) {
		return nil, fmt.Errorf("scaffold: no policies are written in %q", l)
	}
	files := guest.Binding(string(l))
	for _, dir := range []string{string(l), "cases"} {
		if err := add(files, dir, name); err != nil {
			return nil, err
		}
	}
	readme, err := fs.ReadFile(templates, "templates/README.md")
	files["README.md"] = []byte(aligned(strings.NewReplacer(
		templateName, name, "@LANG@", about(l), "@FACTS@", facts(l)).Replace(string(readme))))
	return files, err
}

// aligned puts the comments behind commands into one column: how long a command is depends on the name.
func aligned(text string) string {
	const behind = "  # "
	lines := strings.Split(text, "\n")
	widest := 0
	for _, line := range lines {
		if command, _, ok := strings.Cut(line, behind); ok {
			widest = max(widest, len(command))
		}
	}
	for i, line := range lines {
		if command, comment, ok := strings.Cut(line, behind); ok {
			lines[i] = fmt.Sprintf("%-*s%s%s", widest, command, behind, comment)
		}
	}
	return strings.Join(lines, "\n")
}

// add takes a folder of the templates into files. Names of files that Go would take for its own end in
// .txt there.
func add(files map[string][]byte, dir, name string) error {
	entries, err := fs.ReadDir(templates, "templates/"+dir)
	if err != nil {
		return fmt.Errorf("scaffold: %w", err)
	}
	for _, e := range entries {
		text, err := fs.ReadFile(templates, "templates/"+dir+"/"+e.Name())
		if err != nil {
			return fmt.Errorf("scaffold: %w", err)
		}
		to := strings.TrimSuffix(e.Name(), ".txt")
		if dir == "cases" {
			to = dir + "/" + e.Name()
		}
		files[to] = []byte(strings.ReplaceAll(string(text), templateName, name))
	}
	return nil
}

// about is what a README says of its language.
func about(l build.Lang) string {
	switch l {
	case build.Go:
		return "It is written in Go, in `main.go`. The folder `guest` is its own copy of the binding: " +
			"it needs nothing but Go 1.24 or newer."
	case build.C:
		return "It is written in C, in `policy.c`. `datanode_policy.h` is its own copy of the binding; it needs " +
			l.Install() + "."
	case build.Rust:
		return "It is written in Rust without std or cargo, in `policy.rs`. `datanode_policy.rs` is its own copy of the " +
			"binding; it needs " + l.Install() + "."
	case build.AssemblyScript:
		return "It is written in AssemblyScript, in `policy.ts`. `datanode_policy.ts` is its own copy of the binding; " +
			"it needs Node.js 20 or newer, and then once, in this folder: `npm ci`."
	}
	return "It is written in the text format of WebAssembly, in `policy.wat`; it needs " + l.Install() + "."
}

// facts say where the meaning of the facts is written.
func facts(l build.Lang) string {
	const abi = "docs/policy-abi.md in the source of datanode"
	for name := range guest.Binding(string(l)) {
		if strings.HasPrefix(name, "datanode_policy.") {
			return "What every fact means is said in `" + name + "`, and at length in " + abi + "."
		}
	}
	if l == build.Go {
		return "What every fact means is said in `guest/records_gen.go`, and at length in " + abi + "."
	}
	return "What every fact means, and at which offset it stands, is said in " + abi + "."
}

// ExistsError says that a folder is not empty, so that nothing was written.
type ExistsError struct{ Dir string }

func (e *ExistsError) Error() string { return e.Dir + " is there already and is not empty" }

// Write makes the folder dir with the files of a new policy, and gives their names. It must not exist, or be
// empty: nothing is ever written over.
func Write(dir string, l build.Lang, name string) ([]string, error) {
	files, err := Files(l, name)
	if err != nil {
		return nil, err
	}
	switch entries, err := os.ReadDir(dir); {
	case len(entries) > 0:
		return nil, &ExistsError{dir}
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	names := slices.Sorted(maps.Keys(files))
	for _, name := range names {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { //nolint:gosec // as any other source
			return nil, err
		}
		if err := writeNew(path, files[name]); err != nil {
			return nil, err
		}
	}
	return names, nil
}

func writeNew(path string, text []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644) //nolint:gosec // as any other source
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Close())
}
