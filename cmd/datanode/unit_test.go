package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/datanode/datanode/cmd/datanode/internal/clitest"
	"github.com/datanode/datanode/cmd/datanode/internal/exit"
	"github.com/datanode/datanode/cmd/datanode/internal/term"
	"github.com/datanode/datanode/wire"
)

// An interrupt ends a command that waits for its stdin; without, it would wait until somebody typed.
func TestInterruptWhileReadingStdin(t *testing.T) {
	in, typing := io.Pipe()
	defer typing.Close() // ends the read
	ctx, interrupt := context.WithCancel(t.Context())
	code := make(chan int)
	go func() {
		code <- runContext(ctx, []string{"policy", "check", "-"}, in, io.Discard, io.Discard,
			func(string) string { return "" })
	}()
	if _, err := typing.Write([]byte("\x00asm")); err != nil { // it reads now, and goes on reading
		t.Fatal(err)
	}
	interrupt()
	if got := <-code; got != exit.Interrupted {
		t.Errorf("exit code %d, want %d", got, exit.Interrupted)
	}
}

// So does one that waits for somebody to write to a pipe with a name, and --timeout ends it as well.
func TestNamedPipe(t *testing.T) {
	check := func(ctx context.Context, write string, args ...string) (code int) {
		t.Helper()
		fifo := filepath.Join(t.TempDir(), "fifo")
		clitest.Must(t, syscall.Mkfifo(fifo, 0o600))
		done := make(chan int, 1)
		go func() {
			args := append([]string{"policy", "check", fifo}, args...)
			done <- runContext(ctx, args, strings.NewReader(""), io.Discard, io.Discard, func(string) string { return "" })
		}()
		if write != "" {
			clitest.Must(t, os.WriteFile(fifo, []byte(write), 0))
		}
		select {
		case code = <-done:
		case <-time.After(processLimit):
			t.Error("it still waits")
		}
		if write == "" {
			clitest.Must(t, os.WriteFile(fifo, nil, 0)) // what still waits to open it goes on, and ends
		}
		return code
	}
	ctx, interrupt := context.WithCancel(t.Context())
	interrupt()
	if got := check(ctx, ""); got != exit.Interrupted {
		t.Errorf("interrupted: exit code %d, want %d", got, exit.Interrupted)
	}
	if got := check(t.Context(), "", "--timeout", "1ms"); got != exit.Unavailable {
		t.Errorf("after --timeout: exit code %d, want %d", got, exit.Unavailable)
	}
	if got := check(t.Context(), "no module"); got != exit.Refused {
		t.Errorf("with something written: exit code %d, want %d", got, exit.Refused)
	}
}

// A benchmark ends with its time, too.
func TestBenchRPCIsBounded(t *testing.T) {
	var out, said bytes.Buffer
	args := []string{"bench", "rpc", "--each", "1ms", "--timeout", "1ns"}
	code := runContext(t.Context(), args, strings.NewReader(""), &out, &said, func(string) string { return "" })
	if code != exit.Unavailable || !strings.Contains(said.String(), "gave up after --timeout 1ns") {
		t.Errorf("exit code %d, want %d: %s%s", code, exit.Unavailable, out.String(), said.String())
	}
}

// No list in -o json is ever null.
func TestNoNulls(t *testing.T) {
	var out bytes.Buffer
	a := &term.Terminal{Stdout: &out, Output: term.FormatLines}
	for _, err := range []error{
		term.Show(a, wire.Extent{}, nil), term.Show(a, wire.InventoryReply{}, nil), term.Show(a, wire.Connection{}, nil),
		term.Show(a, shownEntry{Commands: []shownCommand{{Full: json.RawMessage("{}")}}}, nil),
		term.List[wire.Extent](a, term.Items([]wire.Extent{{}})),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if strings.Contains(out.String(), "null") {
		t.Fatalf("a null in\n%s", out.String())
	}
}

func TestExplainNamesOverruling(t *testing.T) {
	var out bytes.Buffer
	err := explain(&out, wire.Op{
		ID: "4711.3", Kind: "repair", State: "queued", Extent: 9, Origin: "cell", Waits: []string{"4700"},
		Blocked: "4 copies run from n1, the limit", Admitted: 1_700_000_000_000_000,
		Decision: wire.Decision{
			Policy: "gold-first 2", Digest: "sha256:ab", Epoch: 3, Priority: 6000, Reason: "redundancy is lost", Cost: 250,
			Budget: 1000,
			Facts:  []wire.Fact{{Name: "live", Value: "2"}},
			Conflicts: []wire.Conflict{{With: "4700", Kind: "delete", Asked: "coexist", Verdict: "reject", Overruled: true,
				Reason: "odd"}},
		},
		Steps: []wire.Step{{Index: 4711, Micros: 1_700_000_000_000_000, State: "queued", Note: "admitted"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{
		"Operation 4711.3 is a repair of extent 9", "policy gold-first 2, epoch 3", "sha256:ab", "6000: redundancy is lost",
		"live  2", "250 of 1000 units (25.0 %)",
		"4700 (delete): the policy answered coexist, which the envelope overruled: reject, because odd",
		"waits for operation 4700", "does not start now: 4 copies run from n1, the limit.",
		"4711  2023-11-14T22:13:20.000Z  queued  admitted",
	} {
		if !strings.Contains(out.String(), part) {
			t.Errorf("the account lacks %q:\n%s", part, out.String())
		}
	}
}

// The worst check decides how health ends.
func TestHealthVerdict(t *testing.T) {
	for _, c := range []struct {
		levels []string
		want   int
	}{
		{[]string{levelOK, levelOK}, 0}, {[]string{levelOK, levelWarn}, 1}, {[]string{levelWarn, levelError, levelOK}, 2},
		{[]string{levelError}, 2},
		{[]string{"NEW"}, 1}, // of a later build
	} {
		var checks []healthCheck
		for _, l := range c.levels {
			checks = append(checks, healthCheck{Node: "n1", Check: "x", Level: l})
		}
		if got := exit.Code(t.Context(), healthVerdict(checks)); got != c.want {
			t.Errorf("%v: exit code %d, want %d", c.levels, got, c.want)
		}
	}
}
