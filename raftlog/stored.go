package raftlog

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"

	"github.com/hashicorp/raft"

	"github.com/datanode/datanode/raftlog/state"
)

// Stored is the log in the folder of a node that does not run. It is read where it is: no byte is changed, and what is
// damaged is read around. One goroutine uses it at a time.
type Stored struct {
	dir   string
	f     *os.File
	pages *pageFile
	log   []byte // what the root says of the bucket of entries; nil: there is none
	votes []byte // and of that of votes

	// First and Last are the entries that there are, 0 for none. Whether the last ones were agreed on, the folder does
	// not say: see Applied.
	First, Last state.Index
	// Applied is the last entry that the node is known to have applied, with the chain there; zero where it is not noted.
	Applied ChainPoint
	// Damage is what is wrong with the file as a whole, or with what is noted of it, nil for nothing. Damaged entries are
	// not among it.
	Damage error
	// Snapshots are those in the folder, oldest first, the damaged ones too.
	Snapshots []StoredSnapshot

	points chainPoints // of the chain, as far as it was computed
}

// OpenStored opens the log in dir, the folder that is Config.Dir of a running node. While it is open the node cannot
// start. The error is an *InUseError while the node runs, fs.ErrNotExist where there is no log, and a *CorruptError
// where nothing of it can be read.
func OpenStored(dir string) (*Stored, error) {
	path := filepath.Join(dir, logFile)
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	s := &Stored{dir: dir, f: f}
	if err := errors.Join(lockToRead(f), s.open()); err != nil {
		_ = f.Close() // it was only read
		return nil, err
	}
	return s, nil
}

// Close lets the node start again.
func (s *Stored) Close() error { return s.f.Close() }

// Dir is the folder that the log is in.
func (s *Stored) Dir() string { return s.dir }

func (s *Stored) open() error {
	info, err := s.f.Stat()
	if err != nil {
		return err
	}
	if info.Size() > 0 {
		if err := s.openPages(info.Size()); err != nil {
			return err
		}
	}
	if s.Snapshots, err = storedSnapshots(filepath.Join(s.dir, snapshotDir)); err != nil {
		return err
	}
	s.Applied, err = readMark(s.dir)
	if errors.As(err, new(*CorruptError)) {
		s.Damage = cmp.Or(s.Damage, err)
		return nil
	}
	return err
}

func (s *Stored) openPages(size int64) error {
	if s.pages, s.Damage = openPages(s.f, size); s.pages == nil {
		return withFile(s.Damage, s.f.Name())
	}
	s.Damage = withFile(s.Damage, s.f.Name())
	root := pageScan{
		file: s.pages,
		visit: func(e element) bool {
			switch key := string(e.key); {
			case e.bucket && key == bucketLog:
				s.log = bytes.Clone(e.value)
			case e.bucket && key == bucketVotes:
				s.votes = bytes.Clone(e.value)
			}
			return true
		},
		damaged: func(_, _ []byte, err error) bool { s.Damage = withFile(err, s.f.Name()); return false },
	}
	root.page(s.pages.root, 0, nil, nil)
	if s.log == nil && s.votes == nil && s.Damage == nil {
		return &CorruptError{File: s.f.Name(), Detail: "it has neither entries nor votes: it is of another program"}
	}
	for e := range s.records(0, 0, false) {
		s.First = e.index
		break
	}
	for e := range s.records(0, 0, true) {
		s.Last = max(e.index, e.to)
		break
	}
	return nil
}

// withFile names the file that an error is about.
func withFile(err error, path string) error {
	bad := (*CorruptError)(nil)
	if !errors.As(err, &bad) {
		return err
	}
	return &CorruptError{Index: bad.Index, File: path, Detail: bad.Detail}
}

// storedRecord is one record of the file, or, with an error, those from index to to that cannot be read.
type storedRecord struct {
	index, to state.Index
	raw       []byte // good until the next one
	err       *CorruptError
}

// records are the records from from to to, both included; to 0 is the last one.
func (s *Stored) records(from, to state.Index, reverse bool) iter.Seq[storedRecord] {
	return func(yield func(storedRecord) bool) {
		if s.log == nil {
			return
		}
		scan := pageScan{file: s.pages, reverse: reverse, from: indexKey(from)}
		if to != 0 {
			scan.to = indexKey(to)
		}
		scan.visit = func(e element) bool {
			if e.bucket || len(e.key) != 8 {
				return yield(storedRecord{err: corrupt("there is a key of %d bytes where the entries are, want 8", len(e.key))})
			}
			return yield(storedRecord{index: state.Index(binary.BigEndian.Uint64(e.key)), raw: e.value})
		}
		scan.damaged = func(low, high []byte, err error) bool {
			r := storedRecord{index: from, err: corrupt("%s", err.Error())}
			if len(low) == 8 {
				r.index = max(from, state.Index(binary.BigEndian.Uint64(low)))
			}
			if bad := (*CorruptError)(nil); errors.As(err, &bad) {
				r.err = bad
			}
			if r.to = to; len(high) == 8 {
				r.to = state.Index(binary.BigEndian.Uint64(high)) - 1
			}
			return yield(r)
		}
		scan.bucket(s.log)
	}
}

func indexKey(i state.Index) []byte { return binary.BigEndian.AppendUint64(nil, uint64(i)) }

// Entries are the entries from from to to, both included, from the last to the first with reverse; to 0 is the last
// one. What cannot be read is an entry with an error, which names all of its kind that lie together: Index is the first
// of them. Its commands may be kept, and must not be changed.
func (s *Stored) Entries(from, to state.Index, reverse bool) iter.Seq[EntryInfo] {
	return func(yield func(EntryInfo) bool) {
		for e := range inOrder(s.records(from, to, reverse), s.describe) {
			if !yield(e) {
				return
			}
		}
	}
}

// Record is the record of an entry as it lies in the file, also of one that is damaged; nil where there is none, or no
// page that can be read.
func (s *Stored) Record(index state.Index) []byte {
	for r := range s.records(index, index, false) {
		if r.index == index && r.err == nil {
			return bytes.Clone(r.raw)
		}
	}
	return nil
}

func (s *Stored) describe(r storedRecord) EntryInfo {
	l, err := r.parse()
	if err != nil {
		return EntryInfo{Index: r.index, Kind: "damaged", Err: withFile(err, s.f.Name()), Bytes: len(r.raw)}
	}
	return describe(l, ChainPoint{}, false)
}

// parse is the record as the engine stored it. Its errors are of type *CorruptError.
func (r storedRecord) parse() (*raft.Log, error) {
	if r.err != nil {
		switch {
		case r.to > r.index:
			return nil, &CorruptError{Index: r.index, Detail: fmt.Sprintf("it and those up to %d: %s", r.to, r.err.Detail)}
		case r.index == 0:
			return nil, r.err
		}
		return nil, &CorruptError{Index: r.index, Detail: r.err.Detail}
	}
	l, err := parseRecord(r.raw)
	if err != nil {
		return nil, &CorruptError{Index: r.index, Detail: err.Error()}
	}
	if l.Index != uint64(r.index) {
		return nil, &CorruptError{Index: r.index, Detail: fmt.Sprintf("it says it is entry %d", l.Index)}
	}
	return l, checkRecord(l)
}

// Vote is what the node has promised: the last term it knows of, and whom it gave its vote in which term.
type Vote struct {
	Term, VotedTerm uint64
	VotedFor        string
	Voters          []string    // of the group, as far as the node knows
	Abstains        *Abstention // why it has no say; nil while it has one
}

// Vote is the node's vote, from the file beside the log or, without that, from the log.
func (s *Stored) Vote() (Vote, error) {
	b, err := readBallot(ballotPath(s.dir))
	if err != nil {
		return Vote{}, err
	}
	if b == nil {
		has, err := inspect(s.f.Name())
		if err != nil && !has.votesRead {
			return Vote{}, err
		}
		b = &has.votes
		b.Voters = has.voters
	}
	return Vote{Term: b.Term, VotedTerm: b.VotedTerm, VotedFor: b.VotedFor, Voters: b.Voters, Abstains: b.Abstains}, nil
}

// Room is how many bytes the log's file has, and how many of them are free for entries to come. The error is that of
// what is damaged.
func (s *Stored) Room() (bytes, free int64, err error) {
	has, err := inspect(s.f.Name())
	return has.bytes, has.free, err
}

// readMark is the mark of the log in dir, zero where none was written yet. A *CorruptError where none can be read.
func readMark(dir string) (last mark, err error) {
	raw, err := os.ReadFile(markPath(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return last, nil
	}
	last, _, sound := newestMark(raw)
	if err == nil && !sound && len(bytes.Trim(raw, "\x00")) > 0 {
		err = &CorruptError{File: markPath(dir), Detail: "neither of its two marks is as it was written"}
	}
	return last, err
}
