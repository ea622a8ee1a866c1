package raftlog

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"time"

	"github.com/hashicorp/go-hclog"
)

// A node whose log has lost something, by damage or because somebody removed it, may have acknowledged entries that it
// no longer has. A leader may have counted them as agreed on because of it. So it abstains: it gives nobody its vote
// and does not stand for election, until it holds all of that again. It does follow: what it appends from then on it
// has, and a leader may count it.
//
// Why that is safe, for any number of nodes k that abstain at once, of n with a majority of q. An agreed entry is held
// by q nodes, k of which may have lost it: q-k of those that do not abstain hold it. A leader needs q votes of the n-k
// that do not abstain. As q-k + q > n-k, one of the voters holds the entry, and will have only a leader that does
// too. That the node's own acknowledgements to an earlier leader stay valid takes its term: it is kept outside
// of the log, in the ballot, and the node takes nothing from a leader of an earlier one.
//
// Why it may have its say again once it has applied an entry that was proposed after it began to abstain. That entry is
// agreed on, in a term not lower than any in which it acknowledged something before. Whatever it had acknowledged and
// is or will be agreed on comes before that entry in the leader's log: from earlier terms, because the leader was
// elected by nodes that hold it; from the same term, because the leader itself had appended it before. The index that
// the log once reached says less: it is not known where the log cannot be read.
//
// With nobody else in the group that could fill it, a damaged log is left as it is.

// maxTermsAhead is how many terms a log may be ahead of its ballot. One, normally; more when an older build, which
// writes no ballot, ran in between.
const maxTermsAhead = 1 << 20

// bootstrapTerm is the term that a new group's log begins with.
const bootstrapTerm = 1

// neverVoted fills the place of a vote that is not known. No node has this name.
const neverVoted = "?"

// reopening is what a start finds of a log's file and its ballot.
type reopening struct {
	cfg    *Config
	path   string // of the log
	ballot *ballot
	torn   error // why there is no ballot although there is a file
	found  found
}

// openDisk opens the stores in the log's folder. A log that is damaged is put aside and begun anew, abstaining,
// where that is safe; else the error is an *UnusableError.
func openDisk(cfg *Config, logger hclog.Logger) (*Stores, error) {
	o := &reopening{cfg: cfg, path: filepath.Join(cfg.Dir, logFile)}
	if err := o.read(); err != nil {
		return nil, err
	}
	stores, err := diskStores(cfg.Dir, logger)
	if err != nil {
		return nil, err
	}
	stores.box = &ballotBox{path: ballotPath(cfg.Dir), now: *o.ballot}
	if err := o.carryOver(stores); err != nil {
		return nil, errors.Join(err, stores.close())
	}
	return stores, nil
}

// read finds out what there is, and leaves a log that can be opened, or none, and a ballot in memory and on disk.
func (o *reopening) read() error {
	var err error
	if o.ballot, err = readBallot(ballotPath(o.cfg.Dir)); err != nil {
		if !errors.As(err, new(*CorruptError)) {
			return err
		}
		o.torn = err
	}
	gone, err := missing(o.path)
	if err != nil {
		return err
	}
	if !gone {
		o.found, err = inspect(o.path)
	}
	switch {
	case err != nil && !errors.As(err, new(*CorruptError)):
		return err
	case err != nil:
		err = o.damaged(err)
	case !o.found.state:
		err = o.empty(gone)
	default:
		err = o.sound()
	}
	if err != nil {
		return err
	}
	if err := ownDir(filepath.Dir(ballotPath(o.cfg.Dir))); err != nil {
		return err
	}
	return o.keepBallot()
}

// keepBallot writes the ballot if it is another than that on disk: a start needs no space.
func (o *reopening) keepBallot() error {
	path := ballotPath(o.cfg.Dir)
	if had, err := readBallot(path); err == nil && had != nil && reflect.DeepEqual(had, o.ballot) {
		return syncDir(filepath.Dir(path)) // the process before this one may have died just before that
	}
	s := &guard{room: o.cfg.MakeRoom}
	return s.within(func() error { return o.ballot.write(path) })
}

// damaged puts a damaged log aside, and lets the node abstain. Where it is not an entry that is damaged but the file,
// it does so from the next start on.
func (o *reopening) damaged(why error) error {
	switch {
	case o.torn != nil || o.ballot == nil && !o.found.votesRead:
		return &UnusableError{Err: why, Way: "whom this node voted for cannot be read either; " + newNodeAdvice}
	case o.ballot == nil:
		o.ballot = o.ballotOfLog()
	}
	if !o.ballot.others(string(o.cfg.ID)) {
		return &UnusableError{Err: why, Way: fmt.Sprintf("no other node votes in this group that could make it whole; "+
			"restore %s from a copy", o.cfg.Dir)}
	}
	o.abstain(why.Error())
	// first: without its log the node must not be taken for sound
	if err := o.ballot.write(ballotPath(o.cfg.Dir)); err != nil {
		return err
	}
	aside, err := setAside(o.path)
	if err != nil {
		return err
	}
	if bad := (*CorruptError)(nil); errors.As(why, &bad) && bad.Index == 0 {
		// Not one entry but the file: whoever starts the node should know before it goes on without what was there.
		return &UnusableError{Err: why, Way: asideAdvice(aside)}
	}
	o.cfg.Logger.Error(
		"the operation log is damaged; it is put aside, and this node has no vote until the others have filled a new one",
		"err", why, "aside", aside)
	o.found = found{}
	return nil
}

// stepAside puts aside a log that is sound and cannot be used, because what goes before it is damaged, if the others
// can fill a new one. The error says what to do.
func (g *Group) stepAside(why error) error {
	if !errors.As(why, new(*CorruptError)) {
		return why
	}
	if !g.stores.box.others(string(g.cfg.ID)) {
		return &UnusableError{Err: why, Way: wayOut}
	}
	now := Abstention{Why: why.Error(), Since: g.cfg.Now().UTC().Format(time.RFC3339)}
	if err := g.stores.box.change(func(b *ballot) { b.Abstains = &now }); err != nil {
		return errors.Join(why, err)
	}
	aside, err := setAside(g.stores.file)
	if err != nil {
		return errors.Join(why, err)
	}
	return &UnusableError{Err: why, Way: asideAdvice(aside)}
}

// empty judges a log without entries and terms.
func (o *reopening) empty(gone bool) error {
	what := "is empty"
	if gone {
		what = "is missing or has no byte"
	}
	switch {
	case o.ballot != nil && o.ballot.Abstains != nil:
	case o.cfg.Held || o.torn != nil || o.ballot != nil && o.ballot.Term > bootstrapTerm:
		return &UnusableError{
			Err: &CorruptError{File: o.path, Detail: "the log " + what + ", and this node has voted and acknowledged " +
				"entries with it"},
			Way: "it must not vote as if it were new; " + emptyLogAdvice(o.cfg.Dir),
		}
	default:
		o.ballot = &ballot{}
	}
	return nil
}

// sound compares a log that is in order with its ballot.
func (o *reopening) sound() error {
	b, votes := o.ballot, &o.found.votes
	var why error
	switch {
	case b == nil && o.torn == nil:
		o.ballot = o.ballotOfLog()
		return nil
	case b == nil:
		why = o.torn // what it said of abstaining is not known
		o.ballot = o.ballotOfLog()
		if !o.ballot.others(string(o.cfg.ID)) {
			o.cfg.Logger.Warn("the ballot was damaged, and is made anew from the log", "err", why)
			return nil
		}
	case votes.Term > b.Term+maxTermsAhead:
		return o.damaged(&CorruptError{File: o.path, Detail: fmt.Sprintf("it is in term %d, its ballot in term %d",
			votes.Term, b.Term)})
	case b.Term > votes.Term || b.VotedTerm > votes.VotedTerm:
		why = &CorruptError{File: o.path, Detail: fmt.Sprintf("the log is of term %d, vote in term %d; "+
			"the node has been in term %d, and voted in term %d: this is an older copy of it",
			votes.Term, votes.VotedTerm, b.Term, b.VotedTerm)}
		if b.Abstains == nil && !b.others(string(o.cfg.ID)) {
			return &UnusableError{Err: why, Way: fmt.Sprintf("bring back the newest copy; to go on from this one, "+
				"and lose what came after it, remove %s", ballotPath(o.cfg.Dir))}
		}
	}
	o.ballot.catchUp(votes)
	if why != nil && o.ballot.Abstains == nil {
		o.abstain(why.Error())
		o.cfg.Logger.Error("this node has no vote until the others have brought its log up to date", "err", why)
	}
	return nil
}

// catchUp takes over what a log knows that is ahead of its ballot: of each change, the log is written first.
func (b *ballot) catchUp(votes *ballot) {
	b.Term = max(b.Term, votes.Term)
	switch {
	case votes.VotedTerm > b.VotedTerm:
		b.VotedTerm, b.VotedFor = votes.VotedTerm, votes.VotedFor
	case votes.VotedTerm == b.VotedTerm && votes.VotedFor != b.VotedFor:
		// A crash between the two writes, or damage in one: in this term it votes for nobody any more.
		b.VotedFor = neverVoted
	}
}

// ballotOfLog is a ballot for a log that had none.
func (o *reopening) ballotOfLog() *ballot {
	b := o.found.votes
	b.Voters = o.found.voters
	if len(b.Voters) == 0 {
		for _, s := range o.cfg.Bootstrap {
			b.Voters = append(b.Voters, string(s.ID))
		}
	}
	return &b
}

func (o *reopening) abstain(why string) {
	o.ballot.Abstains = &Abstention{Why: why, Since: o.cfg.Now().UTC().Format(time.RFC3339)}
}

// carryOver writes into the log what its ballot knows beyond it.
func (o *reopening) carryOver(s *Stores) error {
	b, votes := o.ballot, o.found.votes
	var errs []error
	if b.Term != votes.Term {
		errs = append(errs, s.stable.SetUint64([]byte(keyTerm), b.Term))
	}
	if b.VotedTerm != votes.VotedTerm {
		errs = append(errs, s.stable.SetUint64([]byte(keyVotedTerm), b.VotedTerm))
	}
	if b.VotedFor != votes.VotedFor {
		errs = append(errs, s.stable.Set([]byte(keyVotedFor), []byte(b.VotedFor)))
	}
	return errors.Join(errs...)
}

// setAside renames a file to one whose name says that it is damaged.
func setAside(path string) (aside string, err error) {
	for i := 1; ; i++ {
		aside = fmt.Sprintf("%s.damaged-%d", path, i)
		if _, err := os.Lstat(aside); errors.Is(err, os.ErrNotExist) {
			break
		} else if err != nil {
			return "", err
		}
	}
	if err := os.Rename(path, aside); err != nil {
		return "", err
	}
	return aside, syncDir(filepath.Dir(path))
}

// Abstains is why this node has neither a vote nor the right to stand for election, nil while it has both.
func (g *Group) Abstains() *Abstention { return g.stores.box.abstention() }

// DamagedEntries is how many messages with a damaged entry have come from other nodes since Open. None was stored.
func (g *Group) DamagedEntries() uint64 { return g.net.sieve.damaged.Load() }

// MadeWhole ends an abstention. It may be called only when an entry is applied here that was proposed after Open.
func (g *Group) MadeWhole() error {
	was := g.Abstains()
	if was == nil {
		return nil
	}
	if err := g.stores.box.change(func(b *ballot) { b.Abstains = nil }); err != nil {
		g.fail(err)
		return err
	}
	g.cfg.Logger.Info("the log is whole again; this node votes", "since", was.Since, "why", was.Why, "applied",
		uint64(g.AppliedIndex()))
	return nil
}

// EmptyLog lets the node whose log is in dir begin anew with an empty log, abstaining: what was lost is filled in
// by the others. It does nothing but look with dryRun. The log must not be in use.
func EmptyLog(dir string, now time.Time, dryRun bool) error {
	b, err := readBallot(ballotPath(dir))
	if err != nil {
		return &UnusableError{Err: err, Way: newNodeAdvice}
	}
	if b == nil {
		return &UnusableError{Err: &CorruptError{File: ballotPath(dir),
			Detail: "there is no such file: whom this node voted for is not known"}, Way: newNodeAdvice}
	}
	has, err := inspect(filepath.Join(dir, logFile))
	switch {
	case err == nil && has.state:
		return &UnusableError{Err: fmt.Errorf("%s is not empty: it has entries %d to %d", filepath.Join(dir, logFile),
			has.first, has.last), Way: "start the node as it is"}
	case err != nil && !errors.Is(err, os.ErrNotExist):
		return &UnusableError{Err: err, Way: "start the node: it puts a damaged log aside by itself"}
	case len(b.Voters) == 0 && b.Term == 0:
		return &UnusableError{Err: fmt.Errorf("%s says that the node was in no group yet", ballotPath(dir)),
			Way: "start it as it is"}
	}
	if b.Abstains == nil {
		b.Abstains = &Abstention{Why: "its log was lost, and begun anew by hand", Since: now.UTC().Format(time.RFC3339)}
	}
	if dryRun {
		return nil
	}
	return b.write(ballotPath(dir))
}
