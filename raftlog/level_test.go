package raftlog

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"github.com/hashicorp/raft"

	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

// TestLevels takes a cell from a build to the next: what the older one would get wrong waits until the last node has
// the newer one, and then keeps older ones out.
func TestLevels(t *testing.T) {
	c := newCell(t, 1, nil)
	g := c.leader()
	announce := func(id state.NodeID, level state.Level) error {
		results, _, err := g.Propose(testContext(t), &state.Join{Node: id, Addr: "host:1", Incarnation: uint64(level) + 1,
			Level: level})
		if err == nil && results[0].Err != nil {
			err = results[0].Err
		}
		return err
	}
	budget := &state.Set{Key: "policy-batch-budget", Value: "1Mi"}
	older, newer := state.LevelTuned-1, state.LevelTuned
	for id, level := range map[state.NodeID]state.Level{"n1": newer, "n2": older, "n3": 0} {
		if err := announce(id, level); err != nil {
			t.Fatal(err)
		}
	}
	for _, late := range []state.NodeID{"n2", "n3"} {
		for _, cmd := range []state.Command{budget, quietHours()} {
			_, _, err := g.Propose(testContext(t), cmd)
			if wire.CodeOf(err) != wire.CodePrecondition || wire.OutcomeOf(err) != wire.NotDone ||
				!strings.Contains(err.Error(), string(late)) {
				t.Errorf("%s with an older build of %s: %v", cmd.CommandType(), late, err)
			}
		}
		if _, _, err := g.Propose(testContext(t), &state.Set{Key: "replicas", Value: "2"}); err != nil {
			t.Errorf("what every build knows: %v", err)
		}
		if err := announce(late, newer); err != nil {
			t.Fatal(err)
		}
	}
	if got := g.View().Level; got != state.LevelFirst {
		t.Errorf("the cell is at level %d before anything of level %d", got, newer)
	}
	_, index, err := g.Propose(testContext(t), budget)
	if err != nil {
		t.Fatal(err)
	}
	if e := stored(t, g, index); e.Version != uint8(newer) {
		t.Errorf("an entry of level %d has version %d: an older build would not stop at it", newer, e.Version)
	}
	if e := stored(t, g, index-1); e.Version != uint8(state.LevelFirst) {
		t.Errorf("an entry that every build knows has version %d", e.Version)
	}
	if err := announce("n4", older); wire.CodeOf(err) != wire.CodePrecondition || !strings.Contains(err.Error(), "n4") {
		t.Errorf("an older build joins after that: %v", err)
	}
}

// stored is an entry as it is in the log.
func stored(t *testing.T, g *Group, index state.Index) Entry {
	t.Helper()
	var l raft.Log
	if err := g.stores.log.GetLog(uint64(index), &l); err != nil {
		t.Fatal(err)
	}
	_, e, err := ParseEntry(l.Data)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// The level of a state outlasts its snapshot, which older builds refuse if they would get the state wrong.
func TestSnapshotsHaveTheLevelOfTheState(t *testing.T) {
	s := state.New()
	write := func() []byte {
		var buf bytes.Buffer
		if err := (&snapshot{view: s.Snapshot(), chain: ChainPoint{Index: s.Applied}}).write(&buf); err != nil {
			t.Fatal(err)
		}
		return buf.Bytes()
	}
	version := func(b []byte) uint16 { return binary.LittleEndian.Uint16(b[len(snapshotMagic):]) }
	s.Apply(1, 1, []state.Command{&state.Genesis{Cell: "kiel"}})
	if got := version(write()); got != uint16(state.LevelFirst) {
		t.Errorf("version %d of a state that every build knows", got)
	}
	s.Apply(2, 2, []state.Command{&state.Set{Key: "policy-batch-budget", Value: "nonsense"}})
	if got := version(write()); got != uint16(state.LevelFirst) {
		t.Errorf("version %d after a command that was refused", got)
	}
	s.Apply(3, 3, []state.Command{quietHours()})
	b := write()
	if got := version(b); got != uint16(state.LevelTuned) {
		t.Errorf("version %d of a state of level %d", got, state.LevelTuned)
	}
	r, err := readSnapshot(bytes.NewReader(b))
	if err != nil || r.st.Level != state.LevelTuned {
		t.Errorf("level %d, %v, want %d", r.st.Level, err, state.LevelTuned)
	}
	binary.LittleEndian.PutUint16(b[len(snapshotMagic):], uint16(state.LevelNow)+1)
	var unknown *UnknownError
	if _, err := readSnapshot(bytes.NewReader(b)); !errors.As(err, &unknown) {
		t.Errorf("a snapshot of a later version: %v", err)
	}
}
