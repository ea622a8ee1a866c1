package raftlog

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"time"

	"github.com/hashicorp/raft"
)

// logFile is the log's name in Config.Dir.
const logFile = "log.db"

// Stores is where a group keeps its log, its votes and its snapshots. It belongs to one group at a time;
// Close of the group closes it.
type Stores struct {
	log       raft.LogStore
	stable    raft.StableStore
	snapshots raft.SnapshotStore
	close     func() error

	snapshotDir string     // where the snapshots are; empty in memory
	file        string     // what the log is in, for messages; empty in memory
	box         *ballotBox // nil in memory
}

// guard stands between the engine and its store. The engine trusts its store to answer in time, and
// panics where a term cannot be written or an entry not be read; guard instead calls fail, which
// cuts the node off from its peers. From then on nothing that the engine believes can reach anybody,
// so that it may be told what keeps it quiet until the node exits.
type guard struct {
	log     raft.LogStore
	stable  raft.StableStore
	box     *ballotBox
	timeout time.Duration // for one write
	room    func() bool   // Config.MakeRoom
	fail    func(error)
	hang    time.Duration                      // after which a write is said to hang
	hangs   func(what string, since time.Time) // called then
	answers func()                             // called when it has returned after all
	mayCut  func(low, high uint64) error       // reports whether entries may be deleted
}

// roomTries bounds how often room is asked for before a write is given up.
const roomTries = 32

// within makes a write, and makes it again while the disk is full and room for it can be made. The store undoes a
// write that fails, so that nothing of the first try is left.
func (s *guard) within(write func() error) error {
	err := write()
	for tries := 0; isNoSpace(err) && tries < roomTries && s.room(); tries++ {
		err = write()
	}
	return err
}

// isNoSpace reports whether a store failed because the disk is full. bbolt passes some errors on as text only.
func isNoSpace(err error) bool {
	return err != nil && (errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) ||
		strings.Contains(err.Error(), syscall.ENOSPC.Error()))
}

// wrote judges the error of a write. A full disk is the engine's to bear: it steps down and tries
// again. Damaged entries were not written. After any other, what is on disk is not known: it is not tried again.
func (s *guard) wrote(what string, err error) error {
	if err != nil && !isNoSpace(err) && !errors.As(err, new(*unsoundError)) {
		s.fail(fmt.Errorf("%s: %w", what, err))
	}
	return err
}

func (s *guard) FirstIndex() (uint64, error) { return s.log.FirstIndex() }
func (s *guard) LastIndex() (uint64, error)  { return s.log.LastIndex() }

// IsMonotonic makes the engine drop the old log once it has installed a snapshot, rather than leave
// entries before a gap which may never have been agreed on.
func (s *guard) IsMonotonic() bool { return true }

// GetLog gives the engine an empty entry in place of one that cannot be read.
func (s *guard) GetLog(index uint64, l *raft.Log) error {
	err := s.log.GetLog(index, l)
	if err == nil || errors.Is(err, raft.ErrLogNotFound) {
		return err
	}
	if corrupt := (*CorruptError)(nil); !errors.As(err, &corrupt) {
		err = fmt.Errorf("read log entry %d: %w", index, err)
	}
	s.fail(err)
	*l = raft.Log{Index: index, Type: raft.LogNoop}
	return nil
}

func (s *guard) StoreLog(l *raft.Log) error { return s.StoreLogs([]*raft.Log{l}) }

func (s *guard) StoreLogs(logs []*raft.Log) error {
	defer s.watch("appending to the log")()
	for _, l := range logs {
		if err := s.noteVoters(l); err != nil {
			return s.wrote("note the voters", err)
		}
	}
	return s.wrote("append to the log", s.within(func() error { return s.log.StoreLogs(logs) }))
}

// noteVoters keeps who the voters are if that is what an entry says.
func (s *guard) noteVoters(l *raft.Log) error {
	if l.Type != raft.LogConfiguration {
		return nil
	}
	c, err := parseConfiguration(l.Data)
	if err != nil {
		return &unsoundError{err}
	}
	return s.within(func() error { return s.box.noteVoters(votersOf(c)) })
}

func (s *guard) DeleteRange(low, high uint64) error {
	if err := s.mayCut(low, high); err != nil {
		s.fail(err)
		return err
	}
	defer s.watch("cutting the log")()
	return s.wrote("cut the log", s.within(func() error { return s.log.DeleteRange(low, high) }))
}

func (s *guard) Get(key []byte) ([]byte, error)       { return s.stable.Get(key) }
func (s *guard) GetUint64(key []byte) (uint64, error) { return s.stable.GetUint64(key) }

func (s *guard) Set(key, value []byte) error {
	defer s.watch("writing the vote")()
	return s.quiet(s.within(func() error {
		if err := s.stable.Set(key, value); err != nil {
			return err
		}
		return s.box.note(string(key), 0, string(value))
	}))
}

func (s *guard) SetUint64(key []byte, value uint64) error {
	defer s.watch("writing the term")()
	return s.quiet(s.within(func() error {
		if err := s.stable.SetUint64(key, value); err != nil {
			return err
		}
		return s.box.note(string(key), value, "")
	}))
}

// quiet stops the node if a term or vote could not be written, whatever the reason, and keeps the
// error from the engine, which would panic.
func (s *guard) quiet(err error) error {
	if err != nil {
		s.fail(fmt.Errorf("write term and vote: %w", err))
	}
	return nil
}
