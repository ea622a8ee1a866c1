package raftlog

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/hashicorp/raft"

	"github.com/datanode/datanode/raftlog/state"
)

// What the store calls its buckets, and the engine the values of its own.
const (
	bucketLog   = "logs"
	bucketVotes = "conf"

	keyTerm      = "CurrentTerm"
	keyVotedTerm = "LastVoteTerm"
	keyVotedFor  = "LastVoteCand"
)

// found is what a walk through a log's file came upon.
type found struct {
	state       bool // there is something in it: entries or a term
	first, last state.Index
	lastTerm    uint64
	votes       ballot   // its term and vote, which no checksum covers
	voters      []string // of the last configuration in it
	votesRead   bool     // votes was reached, and is as far as one can say what was written
	bytes       int64    // of the file
	free        int64    // of them on pages that nothing is on

	// skim has entries counted and not looked at: who sets it hands each to follow.
	skim bool
}

// maxHole is how many indices may be missing in a row: the engine leaves one out when a snapshot is restored by hand.
const maxHole = 1

// inspect walks through the log in a file that no process has open, every page and entry of it. The error is an
// *CorruptError where something is not as it was written, and fs.ErrNotExist or an error of the disk. What was found
// before an error is answered with it.
func inspect(path string) (found, error) { return inspectAs(path, found{}) }

// inspectAs is inspect, and fills in out.
func inspectAs(path string, out found) (found, error) {
	f, err := os.Open(path)
	if err != nil {
		return out, err
	}
	defer f.Close() //nolint:errcheck // it was only read
	info, err := f.Stat()
	if err != nil || info.Size() == 0 {
		return out, err
	}
	out.bytes = info.Size()
	pages, err := openPages(f, info.Size())
	if err == nil {
		err = out.read(pages)
		out.free = out.bytes - pages.used()
	}
	if bad := (*CorruptError)(nil); errors.As(err, &bad) {
		at := *bad
		if at.File = path; bad.File != "" {
			at.File += ", " + bad.File
		}
		return out, &at
	}
	return out, err
}

// read reads both buckets, the votes first: they are worth having where entries are damaged.
func (out *found) read(pages *pageFile) error {
	buckets := make(map[string][]byte)
	err := pages.walk(pages.root, 0, nil, nil, func(e element) error {
		if !e.bucket {
			return corrupt("there is a value %q beside the buckets", e.key)
		}
		buckets[string(e.key)] = bytes.Clone(e.value)
		return nil
	})
	switch {
	case err != nil:
		return err
	case len(buckets) == 0:
		return nil // the store made the file and then no more
	case len(buckets) != 2 || buckets[bucketLog] == nil || buckets[bucketVotes] == nil:
		return corrupt("its %d buckets are not those of a log, %s and %s", len(buckets), bucketLog, bucketVotes)
	}
	if err := pages.walkBucket(buckets[bucketVotes], out.readVote); err != nil {
		return err
	}
	if out.votes.VotedTerm > out.votes.Term {
		return corrupt("it says that this node voted in term %d, and that term %d is the last", out.votes.VotedTerm,
			out.votes.Term)
	}
	out.votesRead = true
	if err := pages.walkBucket(buckets[bucketLog], out.readEntry); err != nil {
		return err
	}
	return out.checkTerm()
}

// checkTerm holds the terms of the entries against that of the votes.
func (out *found) checkTerm() error {
	if out.lastTerm > out.votes.Term {
		return corrupt("it says that term %d is the last, and has entries of term %d", out.votes.Term, out.lastTerm)
	}
	return nil
}

func (out *found) readVote(e element) error {
	number := uint64(0)
	if len(e.value) == 8 {
		number = binary.BigEndian.Uint64(e.value)
	}
	out.state = true
	switch key := string(e.key); {
	case e.bucket:
		return corrupt("there is a bucket %q where the votes are", e.key)
	case key == keyVotedFor:
		out.votes.VotedFor = string(e.value)
	case len(e.value) != 8:
		return corrupt("%q has %d bytes, want 8", e.key, len(e.value))
	case key == keyTerm:
		out.votes.Term = number
	case key == keyVotedTerm:
		out.votes.VotedTerm = number
	default:
		return corrupt("there is a value %q where the votes are", e.key)
	}
	return nil
}

func (out *found) readEntry(e element) error {
	if e.bucket || len(e.key) != 8 {
		return corrupt("there is a key of %d bytes where the entries are, want 8", len(e.key))
	}
	index := state.Index(binary.BigEndian.Uint64(e.key))
	if out.skim {
		out.state = true
		return nil
	}
	l, err := parseRecord(e.value)
	if err != nil {
		return &CorruptError{Index: index, Detail: err.Error()}
	}
	if l.Index != uint64(index) {
		return &CorruptError{Index: index, Detail: fmt.Sprintf("it says it is entry %d", l.Index)}
	}
	if err := checkRecord(l); err != nil {
		return err
	}
	return out.follow(l)
}

// follow notes an entry that is sound, if it may come after those before it.
func (out *found) follow(l *raft.Log) error {
	index := state.Index(l.Index)
	switch {
	case out.last != 0 && index > out.last+1+maxHole:
		return &CorruptError{Index: out.last + 1, Detail: fmt.Sprintf("it is missing; after entry %d follows %d", out.last,
			index)}
	case l.Term < out.lastTerm:
		return &CorruptError{Index: index, Detail: fmt.Sprintf("its term is %d, that of the one before %d", l.Term,
			out.lastTerm)}
	}
	if l.Type == raft.LogConfiguration {
		c, err := parseConfiguration(l.Data)
		if err != nil {
			return atIndex(index, err)
		}
		out.voters = votersOf(c)
	}
	if out.first == 0 {
		out.first = index
	}
	out.state, out.last, out.lastTerm = true, index, l.Term
	return nil
}

func votersOf(c raft.Configuration) []string {
	var out []string
	for _, s := range c.Servers {
		if s.Suffrage == raft.Voter {
			out = append(out, string(s.ID))
		}
	}
	return out
}

// missing reports whether there is no file, or one without a byte.
func missing(path string) (bool, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	return err == nil && info.Size() == 0, err
}
