package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/datanode/datanode/node/internal/vfs"
	"github.com/datanode/datanode/raftlog"
	"github.com/datanode/datanode/raftlog/state"
)

// movesFile in a data folder says where the members of the group are now, after all of them have moved at once. It
// is written by hand (datanode recover), and goes once the log says the same.
const (
	movesFile     = "moved.json"
	maxMovesBytes = 64 << 10
)

// readMoves is nil where there is none.
func readMoves(fsys vfs.FS, dir string) (map[state.NodeID]string, error) {
	raw, err := vfs.ReadFile(fsys, filepath.Join(dir, movesFile), maxMovesBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var moves map[state.NodeID]string
	if err == nil {
		err = json.Unmarshal(raw, &moves)
	}
	if err != nil {
		return nil, fmt.Errorf("%s cannot be read: %w; run datanode recover --addresses again", filepath.Join(dir, movesFile), err)
	}
	return moves, nil
}

// recordMoves writes into the log where the members are that have moved by hand, on the leader.
func (n *Node) recordMoves(ctx context.Context) error {
	before, now, err := n.log.Moved()
	if err != nil || len(now) == 0 {
		return err
	}
	if _, lowest := n.log.View().Lowest(); lowest >= state.LevelProven {
		rec := &state.Recovered{
			Members: membersOf(now), Before: membersOf(before), Micros: state.Micros(n.now().UnixMicro()), Note: "new addresses",
		}
		if err := n.proposeOne(ctx, rec); err != nil {
			return err
		}
	}
	return n.log.RecordMoves(ctx)
}

func membersOf(servers []raftlog.ServerInfo) []state.Member {
	var out []state.Member
	for _, s := range servers {
		out = append(out, state.Member{Node: s.ID, Addr: s.Addr, Voter: s.Voter})
	}
	return out
}

// forgetMoves removes the file once the log has all that it says.
func (n *Node) forgetMoves() error {
	if !n.hasMoves.Load() {
		return nil
	}
	_, now, err := n.log.Moved()
	if err != nil || len(now) > 0 {
		return err
	}
	if err := n.cfg.FS.Remove(filepath.Join(n.cfg.Dir, movesFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	n.hasMoves.Store(false)
	return n.cfg.FS.SyncDir(n.cfg.Dir)
}

// eraMark is between the cell and its era in the hello of a raft stream.
const eraMark = "#"

// withEra is what a raft stream says of the cell: its ID, and the entry of the recovery that its history
// goes back to. Who was not there for that one may have a majority of the votes of before, and must not be heard.
func withEra(cell string, era state.Index) string {
	if era == 0 {
		return cell
	}
	return cell + eraMark + strconv.FormatUint(uint64(era), 10)
}

func splitEra(s string) (cell string, era state.Index) {
	cell, text, _ := strings.Cut(s, eraMark)
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return cell, 0
	}
	return cell, state.Index(n)
}

// era is the last recovery that this node knows of.
func (n *Node) era() state.Index {
	n.identityMu.Lock()
	defer n.identityMu.Unlock()
	return n.identity.Era
}

// learnEra notes a recovery in the folder: the log tells it only once the node has found its leader.
func (n *Node) learnEra(era state.Index) error {
	n.identityMu.Lock()
	defer n.identityMu.Unlock()
	if era <= n.identity.Era || n.identity.Cell == "" {
		return nil
	}
	n.identity.Era = era
	return n.identity.write(n.cfg.FS, n.cfg.Dir)
}
