package build

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestLangOf(t *testing.T) {
	for _, l := range Langs() {
		dir := t.TempDir()
		write(t, dir, l.Main(), "")
		if have, err := LangOf(dir); err != nil || have != l {
			t.Errorf("%s: %s, %v", l, have, err)
		}
		write(t, dir, C.Main(), "")
		write(t, dir, Rust.Main(), "")
		if _, err := LangOf(dir); err == nil {
			t.Errorf("%s: several main files were accepted", l)
		}
	}
	if _, err := LangOf(t.TempDir()); err == nil || !strings.Contains(err.Error(), "policy.wat, want one") {
		t.Errorf("an empty folder: %v", err)
	}
}

// A missing compiler is named, with what to install.
func TestMissingCompiler(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	for _, l := range []Lang{C, AssemblyScript, WAT} {
		dir := t.TempDir()
		write(t, dir, l.Main(), "")
		err := Policy(t.Context(), dir, filepath.Join(dir, "out.wasm"), Options{})
		var missing *MissingError
		if !errors.As(err, &missing) || missing.Lang != l || !strings.Contains(err.Error(), l.Install()) {
			t.Errorf("%s: %v", l, err)
		}
	}
}

// npm ci brings the compiler that a package-lock.json names.
func TestMissingIsLocked(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	above := t.TempDir()
	dir := filepath.Join(above, "policies", "mine")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, dir, AssemblyScript.Main(), "")
	write(t, above, "package-lock.json", "{}")
	err := Policy(t.Context(), dir, filepath.Join(dir, "out.wasm"), Options{})
	if want := "npm ci in " + above; err == nil || !strings.HasSuffix(err.Error(), want) {
		t.Errorf("%v, want ... %s", err, want)
	}
}

// A compiler that was stopped is not one that is missing, nor one that has refused the source: neither when it is
// asked what it is, nor when it compiles.
func TestStopped(t *testing.T) {
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		t.Fatal(err)
	}
	path := t.TempDir()
	t.Setenv("PATH", path)
	for _, name := range []string{"clang", "rustc", "node", "wat2wasm"} {
		write(t, path, name, "#!/bin/sh\nexec "+sleep+" 600\n")
		if err := os.Chmod(filepath.Join(path, name), 0o700); err != nil { //nolint:gosec // to be run
			t.Fatal(err)
		}
	}
	for _, l := range []Lang{C, Rust, AssemblyScript, WAT} {
		dir := t.TempDir()
		write(t, dir, l.Main(), "")
		if l == AssemblyScript {
			asc := filepath.Join(dir, "node_modules/assemblyscript/bin")
			if err := os.MkdirAll(asc, 0o700); err != nil {
				t.Fatal(err)
			}
			write(t, asc, "asc.js", "")
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		err := Policy(ctx, dir, filepath.Join(dir, "out.wasm"), Options{})
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v, want that the time was up", l, err)
		}
	}
}

// needWAT is for what can be shown with the quickest of the compilers.
func needWAT(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("wat2wasm"); err != nil && os.Getenv("CI") == "" {
		t.Skipf("install %s; skipped since the environment has no CI=true, with which this fails", WAT.Install())
	}
}

// What the compiler says about the source comes back whole, and nothing is left behind.
func TestFailedBuild(t *testing.T) {
	needWAT(t)
	dir := t.TempDir()
	write(t, dir, "policy.wat", "(module (func $f (result i32)))")
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	err := Policy(t.Context(), dir, filepath.Join(dir, "out.wasm"), Options{})
	var failed *FailedError
	if !errors.As(err, &failed) || !strings.Contains(failed.Output, "policy.wat:1") ||
		!strings.Contains(failed.Command, "wat2wasm") {
		t.Errorf("%v", err)
	}
	if left, err := os.ReadDir(temp); err != nil || len(left) != 0 {
		t.Errorf("%v is left, %v", left, err)
	}
}

func TestBuildWAT(t *testing.T) {
	needWAT(t)
	dir := t.TempDir()
	write(t, dir, "policy.wat", "(module)")
	t.Chdir(dir)
	if err := Policy(t.Context(), ".", "out.wasm", Options{}); err != nil {
		t.Fatal(err)
	}
	if module, err := os.ReadFile("out.wasm"); err != nil || !bytes.Equal(module, []byte("\x00asm\x01\x00\x00\x00")) {
		t.Errorf("%x, %v", module, err)
	}
}

// The folder's own binding goes before that of this program: it is what the policy was written with.
func TestStage(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "policy.c", "int main;")
	write(t, dir, "notes.txt", "not for the compiler")
	for _, own := range []bool{false, true} {
		if own {
			write(t, dir, "datanode_policy.h", "mine")
		}
		staged, err := stage(C, dir)
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(staged)
		header, err := os.ReadFile(filepath.Join(staged, "datanode_policy.h"))
		if err != nil || own != (string(header) == "mine") {
			t.Errorf("own %v: %.20q, %v", own, header, err)
		}
		files, err := filepath.Glob(filepath.Join(staged, "*"))
		if err != nil || len(files) != 2 {
			t.Errorf("%v, %v, want the source and the binding", files, err)
		}
	}
}
