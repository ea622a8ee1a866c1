//go:build !wasip1

package raftlog

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/datanode/datanode/raftlog/state"
)

// termsAhead is how far a recovery raises the term. The members that are lost may have held elections that this node
// did not hear of, and have entries of terms that are ahead of its own. An entry is known by index and term, so
// that those of the recovered group must be of terms that the lost one cannot have reached.
const termsAhead = 1 << 16

// Offline is what the log in the folder of a stopped node holds. Nothing is written to find that out.
type Offline struct {
	dir         string
	First, Last state.Index // entries in the log; 0 for none. What comes before is in the snapshot
	LastTerm    uint64      // of the last entry, or of the snapshot when there are none behind it
	Term        uint64      // that the node was in
	Members     []ServerInfo
	Chain       ChainPoint // at the end
	// Abstains is why the node has no say: its log has lost something. Empty when it has.
	Abstains string
	micros   state.Micros
	points   map[state.Index]ChainPoint // as far as they are known
}

// ReadOffline reads the log in dir, which must not be in use.
func ReadOffline(dir string) (o *Offline, err error) {
	path := filepath.Join(dir, logFile)
	if gone, err := missing(path); err != nil {
		return nil, err
	} else if gone {
		return nil, &CorruptError{Detail: path + " is missing or empty; see recover --empty-log"}
	}
	db, err := raftboltdb.New(raftboltdb.Options{Path: path,
		BoltOptions: &bbolt.Options{ReadOnly: true, Timeout: lockTimeout}})
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return nil, fmt.Errorf("%s is in use by another process; stop the node first", path)
	case err != nil:
		return nil, &CorruptError{Detail: fmt.Sprintf("%s cannot be opened: %s", path, err.Error())}
	}
	o = &Offline{dir: dir, points: map[state.Index]ChainPoint{}}
	return o, errors.Join(o.readAll(path, db), db.Close())
}

// readAll reads the log once its file has proved sound: the store would panic.
func (o *Offline) readAll(path string, db *raftboltdb.BoltStore) error {
	if _, err := inspect(path); err != nil {
		return err
	}
	b, err := readBallot(ballotPath(o.dir))
	if err != nil {
		return err
	}
	if b != nil && b.Abstains != nil {
		o.Abstains = b.Abstains.Why
	}
	if err := o.read(db); err != nil || b == nil {
		return err
	}
	o.Term = max(o.Term, b.Term)
	return nil
}

func (o *Offline) read(db *raftboltdb.BoltStore) error {
	chain, err := o.readSnapshot()
	if err != nil {
		return err
	}
	first, err := db.FirstIndex()
	if err != nil {
		return err
	}
	last, err := db.LastIndex()
	if err != nil {
		return err
	}
	if o.Term, err = db.GetUint64([]byte("CurrentTerm")); err != nil && !errors.Is(err, raftboltdb.ErrKeyNotFound) {
		return err
	}
	o.First = state.Index(first)
	known := first <= uint64(chain.Index)+1
	for i := max(first, uint64(chain.Index)+1); first > 0 && i <= last; i++ {
		l := new(raft.Log)
		if err := db.GetLog(i, l); errors.Is(err, raft.ErrLogNotFound) {
			continue // the hole that a snapshot leaves which was installed by hand
		} else if err != nil {
			return &CorruptError{Index: state.Index(i), Detail: err.Error()}
		}
		if err := o.add(l); err != nil {
			return err
		}
		if chain = chainAfter(chain, l); known {
			o.points[chain.Index] = chain
		}
	}
	if o.Chain = chain; o.Last == 0 {
		return &CorruptError{Detail: fmt.Sprintf("%s has no entry", filepath.Join(o.dir, logFile))}
	}
	return nil
}

// add takes note of an entry that follows those before.
func (o *Offline) add(l *raft.Log) error {
	o.Last, o.LastTerm = state.Index(l.Index), l.Term
	switch l.Type {
	case raft.LogConfiguration:
		c, err := parseConfiguration(l.Data)
		if err != nil {
			return atIndex(o.Last, err)
		}
		o.Members = infosOf(c)
	case raft.LogCommand:
		e, _, _, err := readEntry(state.Index(l.Index), l.Data)
		if err != nil {
			return err
		}
		o.micros = e.Micros
	}
	return nil
}

func infosOf(c raft.Configuration) []ServerInfo {
	var out []ServerInfo
	for _, s := range c.Servers {
		out = append(out, ServerInfo{
			Server: Server{ID: state.NodeID(s.ID), Addr: string(s.Address)}, Voter: s.Suffrage == raft.Voter,
		})
	}
	return out
}

// readSnapshot begins with the newest snapshot, if there is one, and answers the chain at its end.
func (o *Offline) readSnapshot() (ChainPoint, error) {
	found, err := filepath.Glob(filepath.Join(o.dir, "snapshots", "*", "meta.json"))
	if err != nil {
		return ChainPoint{}, err
	}
	var newest raft.SnapshotMeta
	from := ""
	for _, path := range found {
		if strings.HasSuffix(filepath.Dir(path), ".tmp") {
			continue // never finished
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			return ChainPoint{}, err
		}
		var meta raft.SnapshotMeta
		if err := json.Unmarshal(raw, &meta); err != nil {
			return ChainPoint{}, &CorruptError{Detail: fmt.Sprintf("%s: %s", path, err.Error())}
		}
		if meta.Index > newest.Index {
			newest, from = meta, filepath.Join(filepath.Dir(path), "state.bin")
		}
	}
	if from == "" {
		return ChainPoint{}, nil
	}
	f, err := os.Open(from)
	if err != nil {
		return ChainPoint{}, err
	}
	s, err := readSnapshot(f)
	if err = errors.Join(err, f.Close()); err != nil {
		return ChainPoint{}, fmt.Errorf("%s: %w", from, err)
	}
	o.Last, o.LastTerm, o.Members, o.micros = state.Index(newest.Index), newest.Term, infosOf(newest.Configuration),
		s.st.NowMicros
	for _, p := range s.points {
		o.points[p.Index] = p
	}
	return s.chain, nil
}

// Newer reports whether o's log is ahead of other's, by the rule by which votes are given.
func (o *Offline) Newer(other *Offline) bool {
	return o.LastTerm > other.LastTerm || o.LastTerm == other.LastTerm && o.Last > other.Last
}

// Agrees is the last entry up to which two logs are known to be the same, 0 where that is not known.
func (o *Offline) Agrees(other *Offline) state.Index {
	best := state.Index(0)
	for i, p := range o.points {
		if q, ok := other.points[i]; ok && p == q {
			best = max(best, i)
		}
	}
	return best
}

// Recovery gives the votes to others.
type Recovery struct {
	Voters []state.NodeID
	Now    time.Time
	Note   string
}

// plan is the group after the recovery: voters that are not named are out of it, others follow as before.
func (o *Offline) plan(r Recovery) (raft.Configuration, *state.Recovered, error) {
	var conf raft.Configuration
	rec := &state.Recovered{Lossy: true, Micros: state.Micros(r.Now.UnixMicro()), Note: r.Note}
	for _, m := range o.Members {
		rec.Before = append(rec.Before, state.Member{Node: m.ID, Addr: m.Addr, Voter: m.Voter})
		voter := slices.Contains(r.Voters, m.ID)
		if m.Voter && !voter {
			continue
		}
		suffrage := raft.Nonvoter
		if voter {
			suffrage = raft.Voter
		}
		conf.Servers = append(conf.Servers, raft.Server{Suffrage: suffrage, ID: raft.ServerID(m.ID),
			Address: raft.ServerAddress(m.Addr)})
		rec.Members = append(rec.Members, state.Member{Node: m.ID, Addr: m.Addr, Voter: voter})
	}
	for _, id := range r.Voters {
		if !slices.ContainsFunc(o.Members, func(m ServerInfo) bool { return m.ID == id }) {
			return conf, nil, fmt.Errorf("node %s is not in the group that the log in %s knows", id, o.dir)
		}
	}
	return conf, rec, nil
}

// Recover appends to the log, in a term of its own, who has a vote from now on and the record of that. Whoever leads
// the group next brings the others to what this log holds. It answers the entry of the record.
//
// The engine's own recovery cuts the log and leaves a snapshot in its place: what was decided until then could
// not be read any more, and the record of the recovery would have no place.
func (o *Offline) Recover(r Recovery) (state.Index, error) {
	conf, rec, err := o.plan(r)
	if err != nil {
		return 0, err
	}
	body, err := AppendCommands(nil, []state.Command{rec})
	if err != nil {
		return 0, err
	}
	entry := AppendEntry(nil, Entry{
		Version: uint8(state.LevelProven), Type: EntryCommands, Group: cellGroup, Micros: o.micros, Body: body,
	})
	term := max(o.Term, o.LastTerm) + termsAhead
	logs := []*raft.Log{
		{Index: uint64(o.Last) + 1, Term: term, Type: raft.LogConfiguration, Data: raft.EncodeConfiguration(conf),
			AppendedAt: r.Now},
		{Index: uint64(o.Last) + 2, Term: term, Type: raft.LogCommand, Data: entry, AppendedAt: r.Now},
	}
	stores, err := diskStores(o.dir, newEngineLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		return 0, err
	}
	last, err := stores.log.LastIndex()
	if err == nil && last != 0 && state.Index(last) != o.Last {
		err = fmt.Errorf("the log in %s has changed meanwhile; stop its node", o.dir)
	}
	if err == nil { // the term first: entries of a term that the node was not in yet would be damage
		err = stores.stable.SetUint64([]byte("CurrentTerm"), term)
	}
	if err == nil {
		for _, l := range logs {
			seal(l)
		}
		err = stores.log.StoreLogs(logs)
	}
	if err = errors.Join(err, stores.close()); err != nil {
		return 0, err
	}
	return o.Last + 2, o.haveSay(term, votersOf(conf))
}

// haveSay lets the node vote and stand for election again: it was chosen to go on although its log may have lost
// something.
func (o *Offline) haveSay(term uint64, voters []string) error {
	b, err := readBallot(ballotPath(o.dir))
	if err != nil || b == nil {
		return err
	}
	b.Term, b.Voters, b.Abstains = max(b.Term, term), voters, nil
	if err := b.write(ballotPath(o.dir)); err != nil {
		return err
	}
	// What the node had applied once may be what its log has lost.
	if err := os.Remove(markPath(o.dir)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return syncDir(filepath.Dir(markPath(o.dir)))
}
