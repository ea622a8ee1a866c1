package raftlog

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-msgpack/v2/codec"
	"github.com/hashicorp/raft"

	"github.com/datanode/datanode/raftlog/state"
)

// logFolder is the folder of one node of a stopped cell: a log of a few entries, and its ballot.
type logFolder struct {
	config  Config
	log     []byte // log.db
	ballot  []byte
	records map[uint64]raft.Log
	last    uint64
	term    uint64
}

func newLogFolder(t *testing.T, nodes, entries int) *logFolder {
	t.Helper()
	c := newCell(t, nodes, nil)
	for i := range entries {
		if _, _, err := c.leader().Propose(testContext(t),
			&state.OpenSession{Client: fmt.Sprintf("client-%d", i)}); err != nil {
			t.Fatal(err)
		}
	}
	c.settle()
	id := c.servers[nodes-1].ID
	f := &logFolder{config: c.groups[id].cfg, records: map[uint64]raft.Log{}}
	f.term = c.groups[id].Term()
	c.close()
	dir := f.config.Dir
	f.log, f.ballot = readFile(t, filepath.Join(dir, logFile)), readFile(t, ballotPath(dir))
	f.config.Layer, f.config.Bootstrap, f.config.Held = nil, nil, true
	stores, err := openDisk(&f.config, newEngineLogger(f.config.Logger))
	if err != nil {
		t.Fatal(err)
	}
	f.last, _ = stores.log.LastIndex()
	for i := uint64(1); i <= f.last; i++ {
		var l raft.Log
		if err := stores.log.GetLog(i, &l); err != nil {
			t.Fatal(err)
		}
		f.records[i] = l
	}
	if err := stores.close(); err != nil {
		t.Fatal(err)
	}
	return f
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func writeFile(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// What a start with a folder came to.
const (
	startSound   = "sound"
	startWhole   = "made whole" // the log is begun anew, and the node abstains
	startBehind  = "abstains"   // with its log
	startRefused = "refused"
)

// start opens what is in the folder with a log and a ballot of its own, nil for none, and holds what it finds
// against what was written.
func (f *logFolder) start(t *testing.T, dir string, log, ballot []byte) string {
	t.Helper()
	cfg := f.config
	cfg.Dir = filepath.Join(dir, "log")
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if log != nil {
		writeFile(t, filepath.Join(cfg.Dir, logFile), log)
	}
	if ballot != nil {
		writeFile(t, ballotPath(cfg.Dir), ballot)
	}
	stores, err := openDisk(&cfg, newEngineLogger(cfg.Logger))
	if _, aside := os.Stat(filepath.Join(cfg.Dir, logFile+".damaged-1")); err != nil && aside == nil {
		if !strings.Contains(err.Error(), "start this node again") {
			t.Fatalf("the log was put aside, and what is said is: %v", err)
		}
		stores, err = openDisk(&cfg, newEngineLogger(cfg.Logger))
	}
	if err != nil {
		var unusable *UnusableError
		if !errors.As(err, &unusable) || !errors.As(err, new(*CorruptError)) || strings.Contains(err.Error(), "\n") {
			t.Fatalf("refused with %T %v, want one line about damage", err, err)
		}
		return startRefused
	}
	defer func() {
		if err := stores.close(); err != nil {
			t.Error(err)
		}
	}()
	g := &careful{LogStore: stores.log, StableStore: stores.stable}
	if term, err := g.GetUint64([]byte(keyTerm)); err != nil || term < f.term {
		t.Fatalf("it is in term %d, %v, and has been in %d", term, err, f.term)
	}
	last, err := g.LastIndex()
	if err != nil {
		t.Fatal(err)
	}
	for i := uint64(1); i <= last; i++ {
		var l raft.Log
		if err := g.GetLog(i, &l); err != nil {
			t.Fatal(err)
		}
		if want := f.records[i]; l.Term != want.Term || l.Type != want.Type || !bytes.Equal(l.Data, want.Data) {
			t.Fatalf("entry %d is another one, and nobody noticed", i)
		}
	}
	switch {
	case stores.box.abstention() == nil && last == f.last:
		return startSound
	case stores.box.abstention() == nil:
		t.Fatalf("the log ends with entry %d, had %d, and the node votes", last, f.last)
	case last == f.last:
		return startBehind
	case last == 0:
		if _, err := os.Stat(filepath.Join(cfg.Dir, logFile+".damaged-1")); err != nil {
			t.Fatal(err)
		}
		return startWhole
	}
	t.Fatalf("the log ends with entry %d, had %d", last, f.last)
	return ""
}

// strides are how many bytes lie between those that are damaged.
func stride(bytes int) int {
	want := 600
	if testing.Short() {
		want = 80
	}
	return max(bytes/want, 1) | 1
}

// TestFlippedBitOfALog flips a bit of each of many bytes of a log. Each start finds every entry as it was written, or
// puts the log aside and has no vote. Nothing panics.
func TestFlippedBitOfALog(t *testing.T) {
	f := newLogFolder(t, 3, 40)
	dir := filepath.Join(t.TempDir(), "n")
	came := map[string]int{}
	for i := 0; i < len(f.log); i += stride(len(f.log)) {
		b := bytes.Clone(f.log)
		b[i] ^= 1 << (i % 8)
		came[f.start(t, dir, b, f.ballot)]++
	}
	t.Logf("%d bytes: %v", len(f.log), came)
	if came[startSound] == 0 || came[startWhole] == 0 || came[startRefused] > 0 {
		t.Errorf("came to %v; want some sound, some made whole, none refused", came)
	}
}

// TestFlippedBitOfARecord flips every bit of a record as the store keeps it, its field names among them: a field whose
// name is damaged is none, and a record without a seal is taken for one of an older build.
func TestFlippedBitOfARecord(t *testing.T) {
	l := &raft.Log{Index: 7, Term: 3, Type: raft.LogNoop, AppendedAt: time.Unix(1e9, 5)}
	seal(l)
	var whole []byte
	handle := &codec.MsgpackHandle{BasicHandle: codec.BasicHandle{TimeNotBuiltin: true}}
	if err := codec.NewEncoderBytes(&whole, handle).Encode(l); err != nil {
		t.Fatal(err)
	}
	check := func(b []byte) error {
		l, err := parseRecord(b)
		if err == nil {
			err = checkRecord(l)
		}
		return err
	}
	if err := check(whole); err != nil {
		t.Fatal(err)
	}
	zone := bytes.Index(whole, []byte("Data")) - 3 // the zone of the time, which is for nobody to know
	for i := range whole {
		for bit := range 8 {
			b := bytes.Clone(whole)
			b[i] ^= 1 << bit
			if check(b) == nil && i != zone && i != zone+1 {
				t.Errorf("bit %d of byte %d of %q flipped, not noticed", bit, i, whole)
			}
		}
	}
}

// TestCutAndZeroedLog cuts a log at many lengths, and takes single pages of it for zeros, as bad sectors are.
func TestCutAndZeroedLog(t *testing.T) {
	f := newLogFolder(t, 3, 40)
	dir := filepath.Join(t.TempDir(), "n")
	came := map[string]int{}
	for n := 1; n < len(f.log); n += 4 * stride(len(f.log)) {
		came[f.start(t, dir, f.log[:n], f.ballot)]++
	}
	for i := 0; i < len(f.log); i += os.Getpagesize() {
		b := bytes.Clone(f.log)
		clear(b[i : i+os.Getpagesize()])
		came[f.start(t, dir, b, f.ballot)]++
	}
	t.Logf("%d bytes: %v", len(f.log), came)
	if came[startWhole] == 0 || came[startRefused] > 0 {
		t.Errorf("came to %v; want some made whole, none refused", came)
	}
}

// TestFlippedBitOfABallot: without its ballot a node cannot know whether it was abstaining.
func TestFlippedBitOfABallot(t *testing.T) {
	f := newLogFolder(t, 3, 3)
	dir := filepath.Join(t.TempDir(), "n")
	for i := range f.ballot {
		b := bytes.Clone(f.ballot)
		b[i] ^= 1 << (i % 8)
		if got := f.start(t, dir, f.log, b); got != startBehind {
			t.Fatalf("byte %d flipped: %s, want %s", i, got, startBehind)
		}
	}
}

// TestLogsAndBallots is every other state in which the two can be found.
func TestLogsAndBallots(t *testing.T) {
	f, alone := newLogFolder(t, 3, 3), newLogFolder(t, 1, 3)
	later := func(raw []byte, change func(*ballot)) []byte {
		b, err := parseBallot(raw)
		if err != nil {
			t.Fatal(err)
		}
		change(b)
		raw, err = b.encode()
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	damaged := func(b []byte) []byte {
		b = bytes.Clone(b)
		for i := 0; i < len(b)-10; i++ { // pages are written to new places: every copy
			if bytes.HasPrefix(b[i:], entryMagic[:]) {
				b[i+10] ^= 4
			}
		}
		return b
	}
	cases := []struct {
		name        string
		folder      *logFolder
		log, ballot []byte
		want        string
	}{
		{"as they were", f, f.log, f.ballot, startSound},
		{"of a build that wrote no ballot", f, f.log, nil, startSound},
		{"damaged, of a build that wrote no ballot", f, damaged(f.log), nil, startWhole},
		{"the log removed", f, nil, f.ballot, startRefused},
		{"the log emptied", f, []byte{}, f.ballot, startRefused},
		{"both removed", f, nil, nil, startRefused},
		{"both damaged", f, damaged(f.log), f.ballot[1:], startRefused},
		{"an older log", f, f.log, later(f.ballot, func(b *ballot) { b.Term++ }), startBehind},
		{"an older vote", f, f.log, later(f.ballot, func(b *ballot) { b.Term++; b.VotedTerm = b.Term }), startBehind},
		{"a vote that was not noted", f, f.log, later(f.ballot, func(b *ballot) { b.VotedFor = "n9" }), startSound},
		{"alone", alone, alone.log, alone.ballot, startSound},
		{"alone, damaged", alone, damaged(alone.log), alone.ballot, startRefused},
		{"alone, an older log", alone, alone.log, later(alone.ballot, func(b *ballot) { b.Term++ }), startRefused},
		{"alone, ballot damaged", alone, alone.log, alone.ballot[1:], startSound},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if got := c.folder.start(t, filepath.Join(t.TempDir(), "n"), c.log, c.ballot); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
}

// TestEmptyLog: a node whose log is gone comes back with an empty one only when somebody says so, without a vote.
func TestEmptyLog(t *testing.T) {
	f := newLogFolder(t, 3, 3)
	cfg := f.config
	cfg.Dir = filepath.Join(t.TempDir(), "log")
	now := time.Unix(1e9, 0)
	if err := EmptyLog(cfg.Dir, now, false); !errors.As(err, new(*UnusableError)) {
		t.Fatalf("without a ballot: %v", err)
	}
	writeFile(t, ballotPath(cfg.Dir), f.ballot)
	writeFile(t, filepath.Join(cfg.Dir, logFile), f.log)
	if err := EmptyLog(cfg.Dir, now, false); err == nil || !strings.Contains(err.Error(), "is not empty") {
		t.Fatalf("with a log: %v", err)
	}
	if err := os.RemoveAll(cfg.Dir); err != nil {
		t.Fatal(err)
	}
	if err := EmptyLog(cfg.Dir, now, true); err != nil {
		t.Fatal(err)
	}
	if _, err := openDisk(&cfg, newEngineLogger(cfg.Logger)); err == nil || !strings.Contains(err.Error(), "--empty-log") {
		t.Fatalf("after a dry run: %v", err)
	}
	for range 2 { // and again: it is not wrong twice
		if err := EmptyLog(cfg.Dir, now, false); err != nil {
			t.Fatal(err)
		}
	}
	stores, err := openDisk(&cfg, newEngineLogger(cfg.Logger))
	if err != nil {
		t.Fatal(err)
	}
	defer stores.close() //nolint:errcheck // nothing was written
	if stores.box.abstention() == nil {
		t.Error("it votes")
	}
}
