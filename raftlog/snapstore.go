package raftlog

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"syscall"

	"github.com/hashicorp/raft"
)

// covers is what the engine says of a snapshot. It keeps that in a file of its own, which no checksum is over, and
// believes it: one bit there, and it would pass over entries, or vote with another configuration. So every snapshot
// carries it too, under its checksum.
type covers struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Index         uint64 // the last entry that the snapshot stands for; the engine's own may follow the state's last
	Term          uint64
	Configuration []byte // as the engine encodes it
	ConfIndex     uint64
}

// known reports whether the snapshot carries it. Those of builds before this one do not.
func (c covers) known() bool { return c.Index != 0 }

func coversOf(m *raft.SnapshotMeta) covers {
	return covers{
		Index: m.Index, Term: m.Term,
		ConfIndex: m.ConfigurationIndex, Configuration: raft.EncodeConfiguration(m.Configuration),
	}
}

// differs says in what the engine's word on a snapshot is not what the snapshot carries, empty for nothing.
func (c covers) differs(engine covers) string {
	switch {
	case !c.known():
		return ""
	case c.Index != engine.Index || c.Term != engine.Term:
		return fmt.Sprintf("it is said to be of entry %d of term %d, and is of entry %d of term %d",
			engine.Index, engine.Term, c.Index, c.Term)
	case c.ConfIndex != engine.ConfIndex || string(c.Configuration) != string(engine.Configuration):
		return "the configuration that it is said to have is not the one that it has"
	}
	return ""
}

// snapshots stands between the engine and its store of snapshots, which counts those that cannot be read among the
// ones it keeps, and which believes what it has written down about them. A snapshot counts here once it has been
// read from the disk and found whole; one that is not is set aside, under a name that says so, before the
// engine sees it, and never takes the place of one that is.
type snapshots struct {
	store  raft.SnapshotStore // keeps all that it is given: forget removes
	dir    string             // where store has them, a folder each; empty for one in memory
	logger *slog.Logger
	// judge reports whether a snapshot that another node has sent may take the place of what is here.
	judge func(snapshotHead) error

	newest atomic.Uint64 // the entry up to which the newest sound one goes; 0: there is none
}

const (
	keepSnapshots = 2
	snapshotDir   = "snapshots" // the engine's name for it
	// asideSuffix is of the folder beside that of the snapshots which has those that are damaged.
	asideSuffix = ".damaged"
	tmpSuffix   = ".tmp" // of a snapshot that is being written
)

// check reads all snapshots at the start and sets aside those that are not whole. It answers what is in the newest
// sound one, and how many were set aside.
func (s *snapshots) check() (newest snapshotHead, aside int, err error) {
	if s.dir == "" {
		return s.checkInMemory()
	}
	found, err := os.ReadDir(s.dir)
	if err != nil {
		return newest, 0, err
	}
	for _, f := range found {
		switch {
		case !f.IsDir():
			continue
		case filepath.Ext(f.Name()) == tmpSuffix: // one that was never finished
			if err := os.RemoveAll(filepath.Join(s.dir, f.Name())); err != nil {
				return newest, aside, err
			}
			continue
		}
		head, err := s.checkOne(f.Name())
		if isDamage(err) {
			aside++
			head, err = snapshotHead{}, s.setAside(f.Name(), err)
		}
		if err != nil {
			return newest, aside, fmt.Errorf("snapshot %s: %w", filepath.Join(s.dir, f.Name()), err)
		}
		if head.covers.Index > newest.covers.Index {
			newest = head
		}
	}
	s.newest.Store(newest.covers.Index)
	return newest, aside, nil
}

func (s *snapshots) checkInMemory() (newest snapshotHead, aside int, err error) {
	list, err := s.store.List()
	if err != nil || len(list) == 0 {
		return newest, 0, err
	}
	_, from, err := s.store.Open(list[0].ID)
	if err != nil {
		return newest, 0, err
	}
	defer from.Close()
	if newest, err = scanSnapshot(from); err != nil {
		return newest, 0, err
	}
	newest.covers = coversOf(list[0])
	s.newest.Store(newest.covers.Index)
	return newest, 0, nil
}

// isDamage tells an error that says what the disk holds from one that says that this process cannot look.
func isDamage(err error) bool {
	var sys syscall.Errno
	switch {
	case err == nil:
		return false
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.EIO):
		return true
	}
	return !errors.As(err, &sys)
}

// setAside moves a snapshot out of the engine's sight, and says so. It keeps what is left of it.
func (s *snapshots) setAside(id string, why error) error {
	to := s.dir + asideSuffix
	if err := ownDir(to); err != nil {
		return err
	}
	path := filepath.Join(to, id)
	for i := 1; ; i++ {
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			break
		}
		path = filepath.Join(to, fmt.Sprintf("%s-%d", id, i))
	}
	if err := os.Rename(filepath.Join(s.dir, id), path); err != nil {
		return err
	}
	s.logger.Warn("a damaged snapshot of the log is set aside", "snapshot", id, "to", path, "error", why)
	return errors.Join(syncDir(s.dir), syncDir(to))
}

// List are the snapshots that the engine may use, newest first.
func (s *snapshots) List() ([]*raft.SnapshotMeta, error) { return s.store.List() }

// Open reads a snapshot, once what the engine knows about it is what the snapshot itself says.
func (s *snapshots) Open(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	meta, from, err := s.store.Open(id)
	if err != nil {
		return nil, nil, s.bad(id, err)
	}
	head, err := newRecordReader(from).head()
	if err == nil {
		if what := head.covers.differs(coversOf(meta)); what != "" {
			err = corrupt("%s", what)
		}
	}
	if err := errors.Join(err, from.Close()); err != nil {
		return nil, nil, s.bad(id, err)
	}
	return s.store.Open(id)
}

// bad sets aside a snapshot that has rotted since it was checked.
func (s *snapshots) bad(id string, err error) error {
	if s.dir == "" || !isDamage(err) {
		return err
	}
	return errors.Join(err, s.setAside(id, err))
}

// Create begins a snapshot, this node's own or one that a leader sends.
func (s *snapshots) Create(version raft.SnapshotVersion, index, term uint64, conf raft.Configuration, confIndex uint64,
	trans raft.Transport) (raft.SnapshotSink, error) {
	sink, err := s.store.Create(version, index, term, conf, confIndex, trans)
	if err != nil {
		return nil, err
	}
	if s.dir != "" {
		if err := ownDir(filepath.Join(s.dir, sink.ID()+tmpSuffix)); err != nil {
			return nil, errors.Join(err, sink.Cancel())
		}
	}
	out := &snapshotSink{SnapshotSink: sink, of: s, installed: true, checked: make(chan struct{})}
	out.covers = covers{Index: index, Term: term, Configuration: raft.EncodeConfiguration(conf), ConfIndex: confIndex}
	from, to := io.Pipe()
	out.tee = to
	go func() {
		defer close(out.checked)
		out.head, out.err = scanSnapshot(from)
		_ = from.CloseWithError(out.err) // so that writing ends, if there is a fault; nil: it has ended
	}()
	return out, nil
}

// finished makes a snapshot that has just been written count: it is read from the disk again, and takes the place of
// the oldest ones.
func (s *snapshots) finished(id string, c covers) error {
	if s.dir != "" {
		if _, err := s.checkOne(id); err != nil {
			return s.bad(id, err)
		}
	}
	s.newest.Store(c.Index)
	return s.forget()
}

// forget removes the oldest snapshots.
func (s *snapshots) forget() error {
	if s.dir == "" {
		return nil
	}
	list, err := s.store.List()
	if err != nil {
		return err
	}
	slices.SortFunc(list, func(a, b *raft.SnapshotMeta) int { return cmp.Compare(b.Index, a.Index) })
	for _, m := range list[min(keepSnapshots, len(list)):] {
		if err := os.RemoveAll(filepath.Join(s.dir, m.ID)); err != nil {
			return err
		}
	}
	return nil
}

// snapshotSink is a snapshot that is being written. What is written is read on its way, so that one that is not whole,
// or not of this node's history, never gets its name.
type snapshotSink struct {
	raft.SnapshotSink
	of        *snapshots
	covers    covers
	installed bool // comes from another node
	ended     bool

	tee     *io.PipeWriter
	checked chan struct{} // closed once the following are set
	head    snapshotHead
	err     error
}

func (s *snapshotSink) Write(b []byte) (int, error) {
	if _, err := s.tee.Write(b); err != nil {
		return 0, err
	}
	return s.SnapshotSink.Write(b)
}

// Close ends the snapshot, and makes it count if it is sound.
func (s *snapshotSink) Close() error {
	if s.ended {
		return nil
	}
	s.ended = true
	_ = s.tee.Close() // never fails
	<-s.checked
	err := s.err
	if err == nil {
		if what := s.head.covers.differs(s.covers); what != "" {
			err = corrupt("%s", what)
		}
	}
	if err == nil && s.installed && s.of.judge != nil {
		err = s.of.judge(s.head)
	}
	if err != nil {
		return errors.Join(err, s.SnapshotSink.Cancel())
	}
	if err := s.SnapshotSink.Close(); err != nil {
		return err
	}
	return s.of.finished(s.ID(), s.covers)
}

// Cancel gives the snapshot up.
func (s *snapshotSink) Cancel() error {
	if s.ended {
		return nil
	}
	s.ended = true
	_ = s.tee.CloseWithError(io.ErrUnexpectedEOF)
	<-s.checked
	return s.SnapshotSink.Cancel()
}

// syncDir makes new names in dir durable: a log that vanished in a crash would let the node vote twice.
func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
