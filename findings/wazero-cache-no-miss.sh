#!/usr/bin/env bash
# wazero v1.12.0: a cache of compiled modules that cannot be read or written is an error of CompileModule, not a miss.
#
# Expected: a compilation cache on disk saves time and nothing else. An entry that is cut short, by a failed disk or
# by a copy that was broken off, is compiled anew and replaced, as an entry of another version is. A cache that is full
# does without a new entry.
# Seen: CompileModule returns an error for an entry that is empty or cut, leaves the file as it is, and returns the same
# error at every later start until somebody removes the file. On a full file system it returns ENOSPC although the
# module is compiled by then; the same module compiles without a cache. A cut within the last four bytes is the one
# case that counts as a miss.
# Why it matters: a module that has run for months is refused after a crash or while a disk is full, on that machine
# alone, and the error looks like one of the module. Whoever keeps such a cache should check each file by a sum of its
# own before the engine sees it, drop what does not fit, and compile without the cache when that cannot be written.
#
# Needs Go, a module proxy, and root for a file system of 64 KiB (tmpfs). Prints what happens; exit 1 when it changes.
set -euo pipefail
dir=$(mktemp -d)
trap 'umount "$dir/full" 2>/dev/null || true; rm -rf "$dir"' EXIT
cd "$dir"
mkdir full
mount -t tmpfs -o size=64k none full
cat >main.go <<'GO'
package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/tetratelabs/wazero"
)

// one exports f, which returns 42.
var one = []byte("\x00asm\x01\x00\x00\x00" + "\x01\x05\x01\x60\x00\x01\x7f" + "\x03\x02\x01\x00" +
	"\x07\x05\x01\x01f\x00\x00" + "\x0a\x06\x01\x04\x00\x41\x2a\x0b")

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// compile is what a program does at its start.
func compile(cacheDir string) error {
	ctx := context.Background()
	config := wazero.NewRuntimeConfigCompiler()
	if cacheDir != "" {
		cache, err := wazero.NewCompilationCacheWithDir(cacheDir)
		must(err)
		defer cache.Close(ctx)
		config = config.WithCompilationCache(cache)
	}
	r := wazero.NewRuntimeWithConfig(ctx, config)
	defer r.Close(ctx)
	_, err := r.CompileModule(ctx, one)
	return err
}

func main() {
	changed := false
	expect := func(what string, err error, fails bool) {
		fmt.Printf("%-42s %v\n", what+":", err)
		changed = changed || fails != (err != nil)
	}

	dir, err := os.MkdirTemp(".", "cache")
	must(err)
	expect("no entry yet", compile(dir), false)
	expect("the entry of before", compile(dir), false)
	var entry string
	must(filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			entry = path
		}
		return err
	}))
	whole, err := os.ReadFile(entry)
	must(err)
	for _, keep := range []int{0, len(whole) / 2, len(whole) - 1} {
		must(os.WriteFile(entry, whole[:keep], 0o600))
		// The last four bytes are a table of catch clauses; without them an entry counts as one of an older build.
		fails := keep < len(whole)-4
		expect(fmt.Sprintf("%d of its %d bytes", keep, len(whole)), compile(dir), fails)
		expect("  at the next start", compile(dir), fails)
	}

	filler, err := os.Create("full/filler")
	must(err)
	for block := make([]byte, 4096); err == nil; {
		_, err = filler.Write(block)
	}
	if !errors.Is(err, syscall.ENOSPC) {
		panic(err)
	}
	expect("file system full, with the cache on it", compile("full"), true)
	expect("file system full, without a cache", compile(""), false)
	if changed {
		fmt.Println("changed: this is not what wazero v1.12.0 did")
		os.Exit(1)
	}
}
GO
cat >go.mod <<'MOD'
module finding

go 1.26

require github.com/tetratelabs/wazero v1.12.0
MOD
go mod tidy >/dev/null 2>&1
go run .
