package raftlog

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-msgpack/v2/codec"
	"github.com/hashicorp/raft"
	"go.etcd.io/bbolt"

	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

// stoppedLog is the folder of the log of a node that has stopped, and what it had.
type stoppedLog struct {
	dir     string
	entries []EntryInfo // from the first that it had, without chains
	chain   ChainPoint
	last    *state.View
	cell    *testCell
}

// newStoppedLog is a log of some entries, with a snapshot that stands for the older ones if trailing is not 0.
func newStoppedLog(t *testing.T, entries int, trailing uint64) *stoppedLog {
	t.Helper()
	c := newCell(t, 1, func(cfg *Config) { cfg.TrailingLogs = trailing })
	g := c.leader()
	if _, _, err := g.Propose(testContext(t), &state.Genesis{Cell: "test"}); err != nil {
		t.Fatal(err)
	}
	fill(t, g, "a", entries/2)
	if trailing > 0 {
		if err := g.Snapshot(testContext(t)); err != nil {
			t.Fatal(err)
		}
	}
	fill(t, g, "b", entries/2)
	out := &stoppedLog{dir: g.cfg.Dir, chain: g.Chain(), last: g.View(), cell: c}
	err := g.Entries(0, g.AppliedIndex(), func(e EntryInfo) bool {
		e.Chain = nil
		out.entries = append(out.entries, e)
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	c.stop("n1")
	return out
}

func (l *stoppedLog) open(t *testing.T) *Stored {
	t.Helper()
	s, err := OpenStored(l.dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// folderSum is a hash over all files of a folder and those beside it.
func folderSum(t *testing.T, dir string) string {
	t.Helper()
	h := sha256.New()
	err := filepath.WalkDir(filepath.Dir(dir), func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			b := readFile(t, path)
			fmt.Fprintf(h, "%s %d %x\n", path, len(b), sha256.Sum256(b))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%x", h.Sum(nil))
}

func TestStoredReadsWhatTheNodeRead(t *testing.T) {
	for _, trailing := range []uint64{0, 150} {
		l := newStoppedLog(t, 600, trailing)
		before := folderSum(t, l.dir)
		s := l.open(t)
		first, last := l.entries[0].Index, l.entries[len(l.entries)-1].Index
		if s.First != first || s.Last != last || s.Applied != l.chain || s.Damage != nil {
			t.Errorf("entries %d to %d, applied %s, damage %v; want %d to %d, %s", s.First, s.Last, s.Applied, s.Damage,
				first, last, l.chain)
		}
		if got := slices.Collect(s.Entries(0, 0, false)); !reflect.DeepEqual(got, l.entries) {
			t.Errorf("%d entries differ from the %d of the node", len(got), len(l.entries))
		}
		backwards := slices.Collect(s.Entries(0, 0, true))
		slices.Reverse(backwards)
		if !reflect.DeepEqual(backwards, l.entries) {
			t.Error("backwards it has other entries")
		}
		for _, r := range [][2]state.Index{{first, first}, {last, last}, {first + 7, last - 9}, {last + 1, last + 5}} {
			want := slices.DeleteFunc(slices.Clone(l.entries), func(e EntryInfo) bool {
				return e.Index < r[0] || e.Index > r[1]
			})
			if got := slices.Collect(s.Entries(r[0], r[1], false)); !reflect.DeepEqual(got, want) && len(got)+len(want) > 0 {
				t.Errorf("entries %d to %d: %d, want %d", r[0], r[1], len(got), len(want))
			}
		}
		rep, err := s.Verify(testContext(t))
		if err != nil || rep.Bad != nil || rep.Chain != l.chain || rep.Entries != uint64(len(l.entries)) {
			t.Errorf("verify: %+v, bad %+v, %v; want chain %s of %d entries", rep, rep.Bad, err, l.chain, len(l.entries))
		}
		checkStates(t, s, l)
		vote, err := s.Vote()
		if err != nil || vote.VotedFor == "" || vote.Term == 0 || !slices.Equal(vote.Voters, []string{"n1"}) {
			t.Errorf("vote %+v, %v", vote, err)
		}
		if after := folderSum(t, l.dir); after != before {
			t.Error("reading has changed the folder")
		}
		if wantSnapshots := min(trailing, 1); uint64(len(s.Snapshots)) != wantSnapshots {
			t.Errorf("%d snapshots, want %d", len(s.Snapshots), wantSnapshots)
		}
	}
}

// checkStates holds the state after some entries against what they say.
func checkStates(t *testing.T, s *Stored, l *stoppedLog) {
	t.Helper()
	want, err := stateBytes(l.last)
	if err != nil {
		t.Fatal(err)
	}
	for _, index := range []state.Index{0, s.Last} {
		view, err := s.StateAt(index)
		if err != nil {
			t.Fatalf("the state after entry %d: %v", index, err)
		}
		if got, err := stateBytes(view); err != nil || !bytes.Equal(got, want) {
			t.Errorf("the state after entry %d is not the node's, %v", index, err)
		}
	}
	joined := l.entries[len(l.entries)-1] // of the last node
	change, err := s.Change(joined.Index)
	if err != nil {
		t.Fatal(err)
	}
	id := joined.Commands[0].(*state.Join).Node
	before, err := s.StateAt(joined.Index - 1)
	if err != nil || before.Node(id) != nil || change.Before.Node(id) != nil || change.After.Node(id) == nil {
		t.Errorf("node %s is there before entry %d, or not after it; %v", id, joined.Index, err)
	}
	was, is, err := s.Between(joined.Index-1, s.Last)
	if err != nil || was.Applied != joined.Index-1 || was.Node(id) != nil || is.Node(id) == nil || is.Applied != s.Last {
		t.Errorf("the states after entries %d and %d: %v", joined.Index-1, s.Last, err)
	}
	if was, is, err := s.Between(s.Last, s.Last); err != nil || was.Applied != s.Last || is.Applied != s.Last {
		t.Errorf("the state after entry %d, twice: %v", s.Last, err)
	}
	if _, _, err := s.Between(1, s.Last+1); wire.CodeOf(err) != wire.CodeNotFound {
		t.Errorf("the state after an entry that there is not: %v", err)
	}
	if r, err := parseRecord(s.Record(joined.Index)); err != nil || r.Index != uint64(joined.Index) {
		t.Errorf("the record of entry %d: %v", joined.Index, err)
	}
	if r := s.Record(s.Last + 1); r != nil {
		t.Errorf("a record of %d bytes of an entry that there is not", len(r))
	}
	if _, err := s.StateAt(s.Last + 1); wire.CodeOf(err) != wire.CodeNotFound {
		t.Errorf("the state after an entry that there is not: %v", err)
	}
}

func TestStoredInUse(t *testing.T) {
	c := newCell(t, 1, nil)
	g := c.leader()
	_, err := OpenStored(g.cfg.Dir)
	var used *InUseError
	if !errors.As(err, &used) || used.Process != os.Getpid() || !strings.Contains(used.Command, "raftlog") {
		t.Errorf("the log of a node that runs: %v, want that process %d has it", err, os.Getpid())
	}
	dir := g.cfg.Dir
	c.stop("n1")
	s, err := OpenStored(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(c.config("n1", nil)); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("a node starts while its log is read: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	c.start("n1", nil)
}

// Whatever byte of a page is damaged, what is read besides is what was written, and what is not is named.
func TestStoredReadsAroundDamage(t *testing.T) {
	l := newStoppedLog(t, 400, 0)
	path := filepath.Join(l.dir, logFile)
	sound := readFile(t, path)
	want := make(map[state.Index]EntryInfo)
	for _, e := range l.entries {
		want[e.Index] = e
	}
	lost := 0
	for at := 0; at < len(sound); at += 1021 {
		damaged := slices.Clone(sound)
		damaged[at] ^= 0x55
		writeFile(t, path, damaged)
		s, err := OpenStored(l.dir)
		if err != nil {
			if !errors.As(err, new(*CorruptError)) {
				t.Fatalf("byte %d: %v", at, err)
			}
			continue
		}
		read := 0
		for e := range s.Entries(0, 0, false) {
			if e.Err != nil {
				lost++
				if !strings.Contains(e.Err.Error(), path) {
					t.Errorf("byte %d: %v does not name the file", at, e.Err)
				}
				continue
			}
			read++
			if !reflect.DeepEqual(e, want[e.Index]) {
				t.Errorf("byte %d: entry %d is %+v, want %+v", at, e.Index, e, want[e.Index])
			}
		}
		rep, err := s.Verify(testContext(t))
		if err != nil || read < len(want) && rep.Bad == nil {
			t.Errorf("byte %d: %d of %d entries can be read, verify: bad %+v, %v", at, read, len(want), rep.Bad, err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	if lost == 0 {
		t.Error("no damage was met")
	}
}

// The file of a log that was cut short has what is on the pages that are left.
func TestStoredCutShort(t *testing.T) {
	l := newStoppedLog(t, 400, 0)
	path := filepath.Join(l.dir, logFile)
	whole := readFile(t, path)
	read := 0
	for size := int64(0); size < int64(len(whole)); size += 4096 + 17 {
		writeFile(t, path, whole[:size])
		s, err := OpenStored(l.dir)
		if err != nil {
			if !errors.As(err, new(*CorruptError)) {
				t.Fatalf("%d of %d bytes: %v", size, len(whole), err)
			}
			continue
		}
		rep, err := s.Verify(testContext(t))
		got := 0
		for e := range s.Entries(0, 0, false) {
			if e.Err == nil {
				got++
			}
		}
		read = max(read, got)
		if err != nil || got < len(l.entries) && rep.Bad == nil {
			t.Errorf("%d of %d bytes: %d entries, %+v, %v", size, len(whole), got, rep, err)
		}
		_ = s.Close()
	}
	if read == 0 {
		t.Error("nothing was read of any")
	}
}

// What was noted as applied is held against the log; where the note cannot be read, that is said and not passed over.
func TestStoredMarkIsDamaged(t *testing.T) {
	l := newStoppedLog(t, 40, 0)
	path := markPath(l.dir)
	sound := readFile(t, path)
	damaged := slices.Clone(sound)
	for at := 0; at < len(damaged); at += markSlotBytes {
		damaged[at+len(markMagic)+9] ^= 1
	}
	for name, c := range map[string]struct {
		mark []byte
		bad  bool
	}{"as it was": {sound, false}, "damaged": {damaged, true}, "never written": {make([]byte, len(sound)), false}} {
		writeFile(t, path, c.mark)
		s, err := OpenStored(l.dir)
		if err != nil {
			t.Fatal(err)
		}
		rep, err := s.Verify(testContext(t))
		if err != nil || (rep.Bad != nil) != c.bad || c.bad && !strings.Contains(rep.Bad.Detail, path) {
			t.Errorf("%s: bad is %+v, %v; want bad: %t", name, rep.Bad, err, c.bad)
		}
		_ = s.Close()
	}
}

func TestStoredOfAnotherProgram(t *testing.T) {
	dir := t.TempDir()
	if _, err := OpenStored(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an empty folder: %v", err)
	}
	db, err := bbolt.Open(filepath.Join(dir, logFile), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bbolt.Tx) error { _, err := tx.CreateBucket([]byte("accounts")); return err })
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenStored(dir); err == nil || !strings.Contains(err.Error(), "another program") {
		t.Errorf("a store of another program: %v", err)
	}
	writeFile(t, filepath.Join(dir, logFile), []byte(strings.Repeat("a text, not a store. ", 1000)))
	if _, err := OpenStored(dir); !errors.As(err, new(*CorruptError)) {
		t.Errorf("a text: %v", err)
	}
}

// A state that a snapshot has and that is not what the entries come to is found, though all sums are right.
func TestStoredFindsAnotherState(t *testing.T) {
	l := newStoppedLog(t, 400, 1000)
	s := l.open(t)
	if len(s.Snapshots) != 1 {
		t.Fatalf("%d snapshots", len(s.Snapshots))
	}
	snap := s.Snapshots[0]
	r, err := snap.state()
	if err != nil {
		t.Fatal(err)
	}
	r.st.NextExtent++
	f, err := os.Create(snap.path)
	if err != nil {
		t.Fatal(err)
	}
	err = (&snapshot{view: r.st.Snapshot(), chain: r.chain, points: r.points, covers: r.covers}).write(f)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	_ = s.Close()
	forged := l.open(t)
	forged.Snapshots[0].Err = nil // its own sums are right; that of the engine beside it is not looked at here
	rep, err := forged.Verify(testContext(t))
	if err != nil || rep.Bad == nil || !strings.Contains(rep.Bad.Detail, "another state") {
		t.Errorf("verify: bad %+v, %v; want another state", rep.Bad, err)
	}
}

// The quick way to read a record reads what the codec does, and nothing that the codec would refuse.
func FuzzParsePlain(f *testing.F) {
	encode := func(l *raft.Log) []byte {
		var out []byte
		old := &codec.MsgpackHandle{BasicHandle: codec.BasicHandle{TimeNotBuiltin: true}}
		if err := codec.NewEncoderBytes(&out, old).Encode(l); err != nil {
			f.Fatal(err)
		}
		return out
	}
	for _, l := range []raft.Log{
		{}, {Index: 5, Term: 300, Data: []byte("abc"), AppendedAt: time.UnixMicro(1.7e15)},
		{Index: 1 << 40, Term: 1 << 20, Type: raft.LogConfiguration, Data: make([]byte, 40), Extensions: []byte{1}},
		{Index: 70_000, Term: 255, Type: raft.LogNoop, Data: make([]byte, 70_000), AppendedAt: time.Unix(1, 2).In(
			time.FixedZone("", 90*60))},
	} {
		raw := encode(&l)
		if parsePlain(raw) == nil {
			f.Errorf("%q is not read the quick way", raw[:min(len(raw), 80)])
		}
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		l := parsePlain(raw)
		if l == nil {
			return
		}
		if again := encode(l); !bytes.Equal(again, raw) {
			t.Errorf("%q is read as %+v, which is %q", raw, l, again)
		}
	})
}
