package build

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// ascVersion is what package.json in plugins/guest/assemblyscript pins.
const ascVersion = "0.28.20"

// stackBytes is the stack of a guest in C and Rust. It lies below the data, so that an overflow traps.
const stackBytes = "8192"

// abandonAfter is how long a program that was stopped is waited for: one that it has started may live on, and hold
// on to what it writes to.
const abandonAfter = time.Second

// program is a command that ends with ctx.
func program(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.WaitDelay = abandonAfter
	return cmd
}

// command is the compiler's command line for a policy in dir.
func command(ctx context.Context, l Lang, dir, out string, o Options) (*exec.Cmd, error) {
	compiler, err := find(ctx, l, dir, o)
	if err != nil {
		return nil, err
	}
	switch l {
	case Go:
		cmd := program(ctx, compiler, "build", "-trimpath", "-buildmode=c-shared", "-ldflags=-s -w", "-o", out, ".")
		cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0", "GOWORK=off")
		return cmd, nil
	case C:
		return program(ctx, compiler, "--target=wasm32", "-O2", "-std=c11", "-Wall", "-Wextra", "-Werror", "-nostdlib",
			"-ffreestanding", "-fvisibility=hidden", "-I.",
			"-Wl,--no-entry,--strip-all,--gc-sections,--stack-first,-z,stack-size="+stackBytes, "-o", out, l.Main()), nil
	case Rust:
		return program(ctx, compiler, "--target", "wasm32-unknown-unknown", "--crate-type", "cdylib", "--edition", "2021",
			"-C", "opt-level=2", "-C", "lto", "-C", "panic=abort", "-C", "strip=symbols", "-C",
			"link-arg=-zstack-size="+stackBytes,
			"-o", out, l.Main()), nil
	case AssemblyScript:
		return program(ctx, "node", compiler, l.Main(), "--outFile", out, "-Osize", "--noAssert", "--runtime", "stub",
			"--use", "abort=", "--exportStart", "_initialize", "--noColors"), nil
	}
	return program(ctx, compiler, l.Main(), "-o", out), nil
}

// find gives the path of the language's compiler: the first candidate that can build for WebAssembly
// and is of the pinned version, if one is asked for.
func find(ctx context.Context, l Lang, dir string, o Options) (string, error) {
	tried := candidates(l, dir, o)
	for _, name := range tried {
		if path, err := lookup(l, name); err == nil && fits(ctx, l, path, o) {
			return path, nil
		}
		if err := ctx.Err(); err != nil {
			return "", err // a compiler that was stopped had no time to say what it is
		}
	}
	missing := &MissingError{Lang: l, Tried: tried}
	if l == AssemblyScript {
		missing.Locked = lockedIn(dir)
	}
	return "", missing
}

// lockedIn is the folder, dir or one above it, whose package-lock.json npm ci would follow; "" for none.
func lockedIn(dir string) string {
	for _, at := range upwards(dir) {
		if _, err := os.Stat(filepath.Join(at, "package-lock.json")); err == nil {
			return at
		}
	}
	return ""
}

// upwards is a folder, and all that it is in.
func upwards(dir string) []string {
	at, err := filepath.Abs(dir)
	if err != nil {
		return nil
	}
	all := []string{at}
	for up := filepath.Dir(at); up != at; up = filepath.Dir(at) {
		all, at = append(all, up), up
	}
	return all
}

func candidates(l Lang, dir string, o Options) []string {
	switch l {
	case Go:
		return []string{"go"}
	case C:
		if o.Pinned {
			return []string{"clang-14"}
		}
		return []string{"clang", "clang-19", "clang-18", "clang-17", "clang-16", "clang-15", "clang-14"}
	case Rust:
		return []string{"rustc", "/usr/bin/rustc"}
	case AssemblyScript:
		return ascCandidates(dir, o)
	}
	return []string{"wat2wasm"}
}

// ascCandidates looks where npm puts it: in the folder of the policy and those above it.
func ascCandidates(dir string, o Options) []string {
	const inside = "node_modules/assemblyscript/bin/asc.js"
	var paths []string
	if node, err := filepath.Abs(o.Node); err == nil && o.Node != "" {
		paths = append(paths, filepath.Join(node, inside))
	}
	for _, at := range upwards(dir) {
		paths = append(paths, filepath.Join(at, inside))
	}
	return paths
}

// fits asks the compiler what it is.
func fits(ctx context.Context, l Lang, path string, o Options) bool {
	switch l {
	case Go:
		return true
	case C:
		return strings.Contains(says(ctx, path, "--print-targets"), "wasm32") && hasClangLinker(ctx, path) &&
			(!o.Pinned || strings.HasPrefix(says(ctx, path, "--version"), "Debian clang version 14."))
	case Rust:
		lib := strings.TrimSpace(says(ctx, path, "--print", "target-libdir", "--target", "wasm32-unknown-unknown"))
		_, err := os.Stat(lib)
		return err == nil && lib != "" && hasRustLinker(ctx, path) &&
			(!o.Pinned || strings.HasPrefix(says(ctx, path, "--version"), "rustc 1.63.0"))
	case AssemblyScript:
		version := says(ctx, "node", path, "--version")
		return strings.HasPrefix(version, "Version ") && (!o.Pinned || strings.TrimSpace(version) == "Version "+ascVersion)
	}
	return !o.Pinned || strings.HasPrefix(says(ctx, path, "--version"), "1.0.32")
}

// hasClangLinker tells whether the linker is there that a clang would call, wasm-ld or one of a version.
func hasClangLinker(ctx context.Context, clang string) bool {
	text, err := program(ctx, clang, "--target=wasm32", "-nostdlib", "-###", "-x", "c", os.DevNull).CombinedOutput()
	commands := strings.Split(strings.TrimSpace(string(text)), "\n")
	linker, _, quoted := strings.Cut(strings.TrimPrefix(strings.TrimSpace(commands[len(commands)-1]), `"`), `"`)
	if err != nil || !quoted {
		return false
	}
	_, err = exec.LookPath(linker)
	return err == nil
}

// hasRustLinker tells whether a rustc finds rust-lld: beside its libraries, or, as Debian has it, in the path.
func hasRustLinker(ctx context.Context, rustc string) bool {
	sysroot := strings.TrimSpace(says(ctx, rustc, "--print", "sysroot"))
	found, err := filepath.Glob(filepath.Join(sysroot, "lib/rustlib/*/bin/rust-lld*"))
	if err == nil && len(found) > 0 {
		return true
	}
	_, err = exec.LookPath("rust-lld")
	return err == nil
}

func says(ctx context.Context, name string, args ...string) string {
	text, err := program(ctx, name, args...).Output()
	if err != nil {
		return ""
	}
	return string(text)
}

// lookup finds a program, or, for what node runs, a file.
func lookup(l Lang, name string) (string, error) {
	if l != AssemblyScript {
		return exec.LookPath(name)
	}
	_, err := os.Stat(name)
	return name, err
}
