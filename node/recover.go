//go:build !wasip1

package node

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/datanode/datanode/node/folder"
	"github.com/datanode/datanode/node/internal/vfs"
	"github.com/datanode/datanode/raftlog"
	"github.com/datanode/datanode/raftlog/state"
)

// RecoverOptions say what is to be done to the folders of stopped nodes. One of Addresses and Voters.
type RecoverOptions struct {
	Dirs      []string
	Addresses []Peer   // where members of the group are from now on
	Voters    []string // who alone has a vote from now on
	Now       time.Time
	Note      string // who does it, for the record
}

// RecoverFolder is what one of the folders holds.
type RecoverFolder struct {
	Dir      string   `json:"dir"`
	Node     string   `json:"node"`
	Cell     string   `json:"cell"`
	First    uint64   `json:"first"`
	Last     uint64   `json:"last"`
	LastTerm uint64   `json:"last_term"`
	Term     uint64   `json:"term"`
	Chain    string   `json:"chain"`
	Members  []string `json:"members"` // ID=HOST:PORT, those without a vote marked

	id  folder.Identity
	log *raftlog.Offline
}

// Recovery is a plan for folders, made without a change to them.
type Recovery struct {
	Folders []RecoverFolder
	Steps   []string // what is going to be done, and what that may cost
	Confirm string   // what a person types to agree
	carry   func() error
}

// Carry does what was planned. Nothing of it is done when the folders have changed since.
func (r *Recovery) Carry() error { return r.carry() }

// PlanRecovery reads the folders and says what the recovery would do. It refuses what it would have to guess.
func PlanRecovery(o RecoverOptions) (*Recovery, error) {
	r := &Recovery{}
	for _, dir := range o.Dirs {
		f, err := readFolder(dir)
		if err != nil {
			return r, err
		}
		for _, other := range r.Folders {
			switch {
			case other.Node == f.Node:
				return r, fmt.Errorf("%s and %s are both of node %s; give the one that is to go on", other.Dir, f.Dir, f.Node)
			case other.Cell != f.Cell:
				return r, fmt.Errorf("%s belongs to cell %s, %s to %s", other.Dir, other.Cell, f.Dir, f.Cell)
			}
		}
		r.Folders = append(r.Folders, f)
	}
	switch {
	case len(o.Addresses) > 0:
		return r, r.planMoves(o)
	case len(o.Voters) > 0:
		return r, r.planVoters(o)
	}
	return r, nil
}

func readFolder(dir string) (RecoverFolder, error) {
	f := RecoverFolder{Dir: dir}
	var err error
	f.id, err = folder.Read(vfs.OS{}, dir)
	if errors.Is(err, fs.ErrNotExist) {
		return f, fmt.Errorf("%s is no data folder: it has no %s", dir, folder.IdentityFile)
	}
	if err != nil {
		return f, fmt.Errorf("%s: %w", filepath.Join(dir, folder.IdentityFile), err)
	}
	if f.id.Cell == "" {
		return f, fmt.Errorf("the folder %s of %s belongs to no cell yet: there is nothing to recover in it", dir, f.id.Node)
	}
	if f.log, err = raftlog.ReadOffline(filepath.Join(dir, folder.Log)); err != nil {
		return f, fmt.Errorf("the folder %s of %s: %w", dir, f.id.Node, err)
	}
	f.Node, f.Cell = f.id.Node, f.id.Cell
	f.First, f.Last, f.LastTerm, f.Term = uint64(f.log.First), uint64(f.log.Last), f.log.LastTerm, f.log.Term
	f.Chain = f.log.Chain.String()
	for _, m := range f.log.Members {
		text := string(m.ID) + "=" + m.Addr
		if !m.Voter {
			text += " (no vote)"
		}
		f.Members = append(f.Members, text)
	}
	return f, nil
}

// newest is the folder whose log is ahead of all others.
func (r *Recovery) newest() *RecoverFolder {
	best := &r.Folders[0]
	for i := range r.Folders {
		if r.Folders[i].log.Newer(best.log) {
			best = &r.Folders[i]
		}
	}
	return best
}

// Newest is the node whose log is ahead of all others that were read.
func (r *Recovery) Newest() string { return r.newest().Node }

func (r *Recovery) folder(node string) *RecoverFolder {
	for i := range r.Folders {
		if r.Folders[i].Node == node {
			return &r.Folders[i]
		}
	}
	return nil
}

// planMoves writes to each folder where the others are. Nothing in a log is changed: the nodes find each other, elect
// who has the newest log as ever, and that one writes the addresses down.
func (r *Recovery) planMoves(o RecoverOptions) error {
	moves := map[string]string{}
	for _, p := range o.Addresses {
		moves[p.ID] = p.Addr
	}
	for _, f := range r.Folders {
		now := map[string]string{}
		for _, m := range f.log.Members {
			now[string(m.ID)] = m.Addr
		}
		for _, p := range o.Addresses {
			if now[p.ID] == "" {
				return fmt.Errorf("the log in %s knows no node %s; it has %s", f.Dir, p.ID, strings.Join(f.Members, ", "))
			}
		}
		if err := checkMoves(now, moves); err != nil {
			return err
		}
		for id, addr := range moves {
			now[id] = addr
		}
		for _, id := range sortedKeys(moves) {
			r.Steps = append(r.Steps, fmt.Sprintf("%s: tell %s that %s is at %s", f.Dir, f.Node, id, moves[id]))
		}
	}
	r.Steps = append(r.Steps,
		"nothing in a log changes, and nothing can be lost; "+
			"do this with the folder of every node, then start them all with their new --listen",
		"the leader records the addresses in the log once a majority has found each other")
	r.Confirm = "addresses"
	r.carry = func() error {
		for _, f := range r.Folders {
			if err := folder.WriteMoves(vfs.OS{}, f.Dir, moves); err != nil {
				return err
			}
		}
		return nil
	}
	return nil
}

// checkMoves refuses addresses that two nodes would share, and nodes that swap theirs: the log takes one move at a
// time.
func checkMoves(before, moves map[string]string) error {
	after := map[string]string{}
	for _, id := range sortedKeys(before) {
		addr := before[id]
		if moved := moves[id]; moved != "" {
			addr = moved
		}
		if other := after[addr]; other != "" {
			return fmt.Errorf("%s and %s would both be at %s; give each node an address of its own", other, id, addr)
		}
		after[addr] = id
	}
	owner := map[string]string{}
	for id, addr := range before {
		owner[addr] = id
	}
	for id := range moves {
		for at, steps := id, 0; steps <= len(moves); steps++ {
			next := owner[moves[at]]
			if next == "" || next == at || moves[next] == "" {
				break
			}
			if at = next; at == id {
				return fmt.Errorf("%s takes the address of another node that in the end takes that of %s; "+
					"move one of them to a new address first, and then to this one", id, id)
			}
		}
	}
	return nil
}

// planVoters gives the votes to nodes that are left. Only the newest log is changed; the others follow it.
func (r *Recovery) planVoters(o RecoverOptions) error {
	newest := r.newest()
	for _, id := range o.Voters {
		if r.folder(id) == nil {
			return fmt.Errorf("no folder of %s is given, "+
				"so that nobody knows whether its log is newer than that of %s (entry %d of term %d); "+
				"name it with a further --dir (identity.json and log/ of it are enough), "+
				"or give the vote to others alone: it then follows them",
				id, newest.Node, newest.Last, newest.LastTerm)
		}
		if !slices.ContainsFunc(newest.log.Members, func(m raftlog.ServerInfo) bool { return string(m.ID) == id }) {
			return fmt.Errorf("the newest log, that of %s, knows no node %s; it has %s",
				newest.Node, id, strings.Join(newest.Members, ", "))
		}
	}
	if !slices.Contains(o.Voters, newest.Node) {
		return fmt.Errorf("the log of %s is newer (entry %d of term %d) than those of %s; "+
			"say --voters with %s among them, or what only it has is lost",
			newest.Node, newest.Last, newest.LastTerm, strings.Join(o.Voters, ", "), newest.Node)
	}
	var voters []state.NodeID
	for _, id := range o.Voters {
		voters = append(voters, state.NodeID(id))
	}
	r.describeVoters(newest, o.Voters)
	r.Confirm = newest.Node
	r.carry = func() error {
		index, err := newest.log.Recover(raftlog.Recovery{Voters: voters, Now: o.Now, Note: o.Note})
		if err != nil {
			return err
		}
		id := newest.id
		id.Era = index
		return id.Write(vfs.OS{}, newest.Dir)
	}
	return nil
}

func (r *Recovery) describeVoters(newest *RecoverFolder, voters []string) {
	say := func(format string, args ...any) { r.Steps = append(r.Steps, fmt.Sprintf(format, args...)) }
	say("%s: append to the log of %s, after entry %d, that only %s vote from now on",
		newest.Dir, newest.Node, newest.Last, strings.Join(voters, ", "))
	for i := range r.Folders {
		f := &r.Folders[i]
		if f.log.Abstains != "" {
			say("%s has lost a part of its log and may lack what it had acknowledged: %s", f.Node, f.log.Abstains)
		}
		if f == newest {
			continue
		}
		switch agree := f.log.Agrees(newest.log); {
		case uint64(agree) == f.Last:
			say("%s has nothing that %s has not: its log is the same up to entry %d", f.Node, newest.Node, agree)
		case agree == 0:
			say("whether the log of %s (up to entry %d) is a part of that of %s cannot be told; "+
				"where they differ, that of %s counts", f.Node, f.Last, newest.Node, newest.Node)
		default:
			say("entries %d to %d of %s are not in the log of %s and are lost; "+
				"they were agreed on by nobody whose folder is given", agree+1, f.Last, f.Node, newest.Node)
		}
	}
	var lost []string
	for _, m := range newest.log.Members {
		if m.Voter && !slices.Contains(voters, string(m.ID)) {
			lost = append(lost, string(m.ID))
		}
	}
	if len(lost) > 0 {
		say("%s lose their vote; what only they had agreed on after entry %d is lost: "+
			"puts, deletes, and with them bytes that were acknowledged", strings.Join(lost, ", "), newest.Last)
		say("a folder of theirs that comes back can follow, if its log has not parted from this one; else empty it first")
	}
	say("then start %s; the others join it as they are", newest.Node)
}

func sortedKeys(m map[string]string) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
