package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"github.com/datanode/datanode/plugins"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/client"
)

func TestExitCodes(t *testing.T) {
	refusal := func(c wire.Code) error { return fmt.Errorf("wrapped: %w", wire.Errorf(wire.OpSubmit, c, "no")) }
	for _, tc := range []struct {
		err  error
		want int
	}{
		{nil, exitDone},
		{errors.New("anything"), exitFailed},
		{refusal(wire.CodeInternal), exitFailed},
		{usagef("no"), exitUsage},
		{refusal(wire.CodeInvalid), exitUsage},
		{refusal(wire.CodeNotFound), exitNotFound},
		{refusal(wire.CodeConflict), exitRefused},
		{refusal(wire.CodeEnvelope), exitRefused},
		{refusal(wire.CodePrecondition), exitRefused},
		{&plugins.LoadError{Reason: plugins.NotWasm}, exitRefused},
		{refusal(wire.CodeUnavailable), exitUnavailable},
		{refusal(wire.CodeConnection), exitUnavailable},
		{refusal(wire.CodeCorrupt), exitCorrupt},
		{fmt.Errorf("more: %w", withCode(exitCorrupt, "bad")), exitCorrupt},
	} {
		if got := exitCode(t.Context(), tc.err); got != tc.want {
			t.Errorf("%v: exit code %d, want %d", tc.err, got, tc.want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got := exitCode(ctx, refusal(wire.CodeCancelled)); got != exitInterrupted {
		t.Errorf("interrupted: exit code %d, want %d", got, exitInterrupted)
	}
}

// What to do about a cell that cannot be reached depends on what was there instead.
func TestAdvice(t *testing.T) {
	e := wire.Errorf(wire.OpStatus, wire.CodeUnavailable, "no node of the cell could be reached: a:1: it is so")
	for _, tc := range []struct {
		away   client.Unreachable
		has    []string
		hasNot []string
	}{
		{client.Unreachable{Silent: true}, []string{"it is so; check that a node is running there", "--addr", "datanode dev"}, []string{"--tls-cert"}},
		{client.Unreachable{Silent: true, Addr: "b:1"}, []string{"node ls"}, []string{"--addr", "datanode dev", "--tls-cert"}},
		{client.Unreachable{HungUp: true}, []string{"--tls-cert", "more connections than it takes"}, []string{"--addr", "datanode dev"}},
		{client.Unreachable{HungUp: true, TLS: true}, []string{"no certificate", "more connections than it takes"}, []string{"--addr", "--tls-cert"}},
		{client.Unreachable{HungUp: true, Silent: true}, []string{"--addr", "--tls-cert"}, nil},
		{client.Unreachable{}, nil, []string{";", "--addr", "--tls-cert"}},
	} {
		tc.away.Err = e
		for _, err := range []error{&tc.away, ofNode("n2", &tc.away), withCode(exitUnavailable, "gave up: %w", &tc.away)} {
			text := explainError(t.Context(), err)
			for _, part := range tc.has {
				if !strings.Contains(text, part) {
					t.Errorf("%+v: %q lacks %q", tc.away, text, part)
				}
			}
			for _, part := range tc.hasNot {
				if strings.Contains(text, part) {
					t.Errorf("%+v: %q has %q", tc.away, text, part)
				}
			}
		}
	}
}

// An interrupt ends a command that waits for its stdin; without, it would wait until somebody typed.
func TestInterruptWhileReadingStdin(t *testing.T) {
	in, typing := io.Pipe()
	defer typing.Close() // ends the read
	ctx, interrupt := context.WithCancel(t.Context())
	code := make(chan int)
	go func() {
		code <- runContext(ctx, []string{"policy", "check", "-"}, in, io.Discard, io.Discard, func(string) string { return "" })
	}()
	if _, err := typing.Write([]byte("\x00asm")); err != nil { // it reads now, and goes on reading
		t.Fatal(err)
	}
	interrupt()
	if got := <-code; got != exitInterrupted {
		t.Errorf("exit code %d, want %d", got, exitInterrupted)
	}
}

// So does one that waits for somebody to write to a pipe with a name, and --timeout ends it as well.
func TestNamedPipe(t *testing.T) {
	check := func(ctx context.Context, write string, args ...string) (code int) {
		t.Helper()
		fifo := filepath.Join(t.TempDir(), "fifo")
		must(t, syscall.Mkfifo(fifo, 0o600))
		done := make(chan int, 1)
		go func() {
			args := append([]string{"policy", "check", fifo}, args...)
			done <- runContext(ctx, args, strings.NewReader(""), io.Discard, io.Discard, func(string) string { return "" })
		}()
		if write != "" {
			must(t, os.WriteFile(fifo, []byte(write), 0))
		}
		select {
		case code = <-done:
		case <-time.After(processLimit):
			t.Error("it still waits")
		}
		if write == "" {
			must(t, os.WriteFile(fifo, nil, 0)) // what still waits to open it goes on, and ends
		}
		return code
	}
	ctx, interrupt := context.WithCancel(t.Context())
	interrupt()
	if got := check(ctx, ""); got != exitInterrupted {
		t.Errorf("interrupted: exit code %d, want %d", got, exitInterrupted)
	}
	if got := check(t.Context(), "", "--timeout", "1ms"); got != exitUnavailable {
		t.Errorf("after --timeout: exit code %d, want %d", got, exitUnavailable)
	}
	if got := check(t.Context(), "no module"); got != exitRefused {
		t.Errorf("with something written: exit code %d, want %d", got, exitRefused)
	}
}

func TestStdinIsReadInOrder(t *testing.T) {
	text := strings.Repeat("0123456789", pipeChunk/4)
	a := &app{stdin: iotest.OneByteReader(strings.NewReader(text[:1000]))}
	if got, err := io.ReadAll(a.input(t.Context())); err != nil || string(got) != text[:1000] {
		t.Errorf("byte by byte: %v, read %d bytes of %d or others", err, len(got), 1000)
	}
	a.stdin = iotest.DataErrReader(strings.NewReader(text))
	if got, err := io.ReadAll(a.input(t.Context())); err != nil || string(got) != text {
		t.Errorf("in chunks: %v, read %d bytes of %d or others", err, len(got), len(text))
	}
}

// What --timeout ended says so, and is unavailable to scripts; what failed before it was up is left as it is.
func TestTimeoutIsNamed(t *testing.T) {
	a := &app{timeout: time.Nanosecond}
	over, cancel := a.bounded(t.Context())
	defer cancel()
	<-over.Done()
	err := a.timedOut(over, wire.Errorf(wire.OpPut, wire.CodeCancelled, "cut off"))
	if got := exitCode(over, err); got != exitUnavailable || !strings.Contains(err.Error(), "gave up after --timeout 1ns: ") {
		t.Errorf("exit code %d: %v", got, err)
	}
	if got := exitCode(over, a.timedOut(over, withCode(exitRefused, "no"))); got != exitRefused {
		t.Errorf("an error with a code of its own: exit code %d, want %d", got, exitRefused)
	}
	if err := a.timedOut(t.Context(), errors.New("early")); err.Error() != "early" {
		t.Errorf("before its time: %v", err)
	}
}

// A benchmark ends with its time, too.
func TestBenchRPCIsBounded(t *testing.T) {
	var out, said bytes.Buffer
	args := []string{"bench", "rpc", "--each", "1ms", "--timeout", "1ns"}
	code := runContext(t.Context(), args, strings.NewReader(""), &out, &said, func(string) string { return "" })
	if code != exitUnavailable || !strings.Contains(said.String(), "gave up after --timeout 1ns") {
		t.Errorf("exit code %d, want %d: %s%s", code, exitUnavailable, out.String(), said.String())
	}
}

// chains are logs by node: a chain hash for each index from 1. Nodes may have lost the first ones.
type chains map[string][]string

func (c chains) ask(first map[string]uint64) askChain {
	return func(node string, index uint64) (wire.LogChainReply, error) {
		hashes := c[node]
		low := max(first[node], 1)
		if index == 0 {
			index = uint64(len(hashes))
		}
		if index < low || index > uint64(len(hashes)) {
			return wire.LogChainReply{}, fmt.Errorf("%s has %d to %d, not %d", node, low, len(hashes), index)
		}
		return wire.LogChainReply{Node: node, Index: index, First: low, Chain: hashes[index-1]}, nil
	}
}

func TestCompareLogsFindsFirstDifference(t *testing.T) {
	const length = 40
	same := make([]string, length)
	for i := range same {
		same[i] = fmt.Sprint("h", i+1)
	}
	for at := 1; at <= length; at++ {
		other := slices.Clone(same)
		for i := at - 1; i < length; i++ {
			other[i] += "x"
		}
		logs := chains{"n1": same, "n2": same[:35], "n3": other}
		lines, err := compareLogs([]string{"n1", "n2", "n3"}, logs.ask(map[string]uint64{"n2": 7}))
		if err != nil {
			t.Fatal(err)
		}
		if !lines[1].Same || lines[2].Same != (at > 35) || lines[2].Index != 35 {
			t.Fatalf("difference at %d: %+v", at, lines)
		}
		if want := uint64(at); at <= 35 && lines[2].Differs != want {
			t.Fatalf("the logs differ from %d on, found %d", want, lines[2].Differs)
		}
	}
	if _, err := compareLogs([]string{"n1", "n2"}, chains{"n1": same, "n2": same[:5]}.ask(map[string]uint64{"n1": 9})); err == nil {
		t.Fatal("two logs without an index in common were compared")
	}
}

// Tables are aligned, and have as many words in each line as there are columns.
func TestTable(t *testing.T) {
	var out bytes.Buffer
	a := &app{stdout: &out, output: outputTable}
	type row struct{ a, b string }
	err := list(a, items([]row{{"x", ""}, {"longer", "é"}}),
		column[row]{"A", func(r row) string { return r.a }}, column[row]{"B", func(r row) string { return r.b }})
	want := "A       B\nx       -\nlonger  é\n"
	if err != nil || out.String() != want {
		t.Fatalf("%v, printed\n%swant\n%s", err, out.String(), want)
	}
}

// Listings go on after the rows that were measured, and end with what came before an error.
func TestListIsWholeUpToAnError(t *testing.T) {
	broken := errors.New("broken")
	const rows = measuredRows + 500
	seq := func(yield func(int, error) bool) {
		for i := range rows {
			if !yield(i, nil) {
				return
			}
		}
		yield(0, broken)
	}
	var none bytes.Buffer
	if err := list(&app{stdout: &none, output: outputTable}, func(yield func(int, error) bool) { yield(0, broken) }, column[int]{"N", nil}); err == nil || none.Len() > 0 {
		t.Errorf("%v, behind a table of nothing: %q", err, none.String())
	}
	for _, output := range []string{outputTable, outputJSON, outputLines} {
		var out bytes.Buffer
		a := &app{stdout: &out, output: output}
		err := list(a, seq, column[int]{"N", func(n int) string { return fmt.Sprint(n) }})
		if !errors.Is(err, broken) || !strings.Contains(out.String(), fmt.Sprint(rows-1)) {
			t.Errorf("%s: %v, and the last row is missing", output, err)
		}
		if output == outputJSON && !json.Valid(out.Bytes()) {
			t.Error("the array is not closed")
		}
	}
}

// No list in -o json is ever null.
func TestNoNulls(t *testing.T) {
	var out bytes.Buffer
	a := &app{stdout: &out, output: outputLines}
	for _, err := range []error{
		show(a, wire.Extent{}, nil), show(a, wire.InventoryReply{}, nil), show(a, wire.Connection{}, nil),
		show(a, shownEntry{Commands: []shownCommand{{Full: json.RawMessage("{}")}}}, nil),
		list[wire.Extent](a, items([]wire.Extent{{}})),
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
			Policy: "gold-first 2", Digest: "sha256:ab", Epoch: 3, Priority: 6000, Reason: "redundancy is lost", Cost: 250, Budget: 1000,
			Facts:     []wire.Fact{{Name: "live", Value: "2"}},
			Conflicts: []wire.Conflict{{With: "4700", Kind: "delete", Asked: "coexist", Verdict: "reject", Overruled: true, Reason: "odd"}},
		},
		Steps: []wire.Step{{Index: 4711, Micros: 1_700_000_000_000_000, State: "queued", Note: "admitted"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{
		"Operation 4711.3 is a repair of extent 9", "policy gold-first 2, epoch 3", "sha256:ab", "6000: redundancy is lost", "live  2", "250 of 1000 units (25.0 %)",
		"4700 (delete): the policy answered coexist, which the envelope overruled: reject, because odd",
		"waits for operation 4700", "does not start now: 4 copies run from n1, the limit.", "4711  2023-11-14T22:13:20.000Z  queued  admitted",
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
		{[]string{levelOK, levelOK}, 0}, {[]string{levelOK, levelWarn}, 1}, {[]string{levelWarn, levelError, levelOK}, 2}, {[]string{levelError}, 2},
		{[]string{"NEW"}, 1}, // of a later build
	} {
		var checks []healthCheck
		for _, l := range c.levels {
			checks = append(checks, healthCheck{Node: "n1", Check: "x", Level: l})
		}
		if got := exitCode(t.Context(), healthVerdict(checks)); got != c.want {
			t.Errorf("%v: exit code %d, want %d", c.levels, got, c.want)
		}
	}
}
