package state_test

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/raftlog/state/statetest"
	"github.com/datanode/datanode/wire"
)

// file is what the model knows about a file on a node's disk.
type file struct {
	node   state.NodeID
	extent state.ExtentID
}

// model feeds random commands to two states and remembers what must stay true.
type model struct {
	*rapid.T
	cell *statetest.Cell
	twin *state.State // fed the same; now and then dumped and restored

	files   map[file]bool // on disk; true: whole
	gone    []*state.Gone // confirmations on their way, some for the second time
	ended   map[state.OpID]string
	deleted map[state.ExtentID]bool // for good
	kept    map[state.ExtentID]keptAs
	now     state.Micros
	opened  []state.SessionID
	owners  map[state.SessionID]state.Identity
	punched map[deleted]bool         // bytes that were deleted, of extents that may be deleted by now
	sums    map[state.Request]uint64 // by a request without its sum: what was admitted first

	frozen     *state.View // a snapshot, and its dump when it was taken
	frozenDump string
}

var nodes = []state.NodeID{"n1", "n2", "n3", "n4", "n5", "n6"}

// TestModel applies random entries, most of them sensible, and checks after each: the invariants;
// that a twin agrees; that ended operations and deleted extents stay so; that every replica which
// counts as whole is a whole file; that no file is left behind by an extent that was forgotten.
func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &model{
			T: t, cell: statetest.New(), twin: state.New(),
			files: map[file]bool{}, ended: map[state.OpID]string{}, deleted: map[state.ExtentID]bool{},
			punched: map[deleted]bool{},
			owners:  map[state.SessionID]state.Identity{}, sums: map[state.Request]uint64{},
		}
		m.apply(&state.Genesis{Cell: "c"}, &state.OpenSession{})
		for _, id := range nodes[:4] {
			m.apply(&state.Join{Node: id, Addr: "a", Incarnation: 1},
				&state.SetNodeState{Node: id, State: state.NodeUp, Incarnation: 1})
		}
		for range rapid.IntRange(20, 120).Draw(t, "entries") {
			m.entry()
		}
		m.thaw()
		if a, b := state.Dumped(&m.cell.State.View), state.Dumped(&m.twin.View); a != b {
			t.Fatalf("two states fed the same differ:\n%s\n%s", a, b)
		}
	})
}

// entry applies one entry of up to three commands, all decided on the state before it.
func (m *model) entry() {
	m.cell.Now += state.Micros(rapid.SampledFrom([]int{0, 1, 1e6, 1e9, -1e6}).Draw(m.T, "pass"))
	var cmds []state.Command
	for range rapid.SampledFrom([]int{1, 1, 1, 2, 3}).Draw(m.T, "commands") {
		cmds = append(cmds, m.command())
	}
	m.apply(cmds...)
	switch rapid.IntRange(0, 19).Draw(m.T, "event") {
	case 0:
		m.thaw()
		m.frozen = m.cell.State.Snapshot()
		m.frozenDump = state.Dumped(m.frozen)
	case 1:
		m.restart()
	case 2, 3, 4, 5, 6:
		m.drop()
	}
}

func (m *model) thaw() {
	if m.frozen == nil {
		return
	}
	if err := state.CheckInvariants(m.frozen); err != nil {
		m.Fatalf("the indexes of a snapshot have changed: %v", err)
	}
	if state.Dumped(m.frozen) != m.frozenDump {
		m.Fatalf("a snapshot has changed:\n%s\n%s", m.frozenDump, state.Dumped(m.frozen))
	}
}

func (m *model) restart() {
	twin, into := state.Restore(m.twin.Header())
	if err := m.twin.Dump(into); err != nil {
		m.Fatal(err)
	}
	m.twin = twin
}

// drop lets a node drop what it must, and its confirmation start on its way.
func (m *model) drop() {
	id := m.node()
	m.cell.State.DropsOn(id, func(e *state.Extent) bool {
		since, _ := e.FormerSince(id)
		delete(m.files, file{id, e.ID})
		m.gone = append(m.gone, &state.Gone{Extent: e.ID, Node: id, Since: since})
		return true
	})
}

func (m *model) apply(cmds ...state.Command) {
	index := m.cell.State.Applied + 1
	before := fmt.Sprintf("%+v", cmds)
	level, serial := m.cell.State.Level, m.cell.State.Settings.Serial
	results := m.cell.Apply(cmds...)
	again := m.twin.Apply(index, m.cell.Now, cmds)
	for i, res := range results {
		if res.String() != again[i].String() {
			m.Fatalf("entry %d: %T came to %s here and to %s there", index, cmds[i], res, again[i])
		}
		if res.Err != nil && (res.Err.Code == 0 || res.Err.Detail == "") {
			m.Fatalf("%T is refused without a reason: %+v", cmds[i], res.Err)
		}
		if res.Err == nil && serial == m.cell.State.Settings.Serial {
			m.alone(cmds[i], level)
		}
		if res.Session != 0 {
			m.opened = append(m.opened, res.Session)
			m.owners[res.Session] = state.AskedBy(cmds[i])
		}
		if a, ok := cmds[i].(*state.Admit); ok {
			m.answered(index, a, res)
		}
		m.Logf("%d %T%+v: %s", index, cmds[i], cmds[i], res)
	}
	if after := fmt.Sprintf("%+v", cmds); after != before {
		m.Fatalf("applying changed the commands from %s to %s", before, after)
	}
	m.write(cmds, results)
	m.dug(cmds, results)
	m.check()
	m.checkKept(cmds, results)
}

// answered makes sure that nobody is answered in another's session, nor with the answer to another request.
func (m *model) answered(index state.Index, a *state.Admit, res state.Result) {
	r := a.Request
	if owner := m.owners[r.Session]; r.Session != 0 && owner != "" && owner != a.AskedBy && (!res.Misused || res.Op != 0) {
		m.Fatalf("entry %d: %q submits in the session of %s: %+v", index, a.AskedBy, owner, res)
	}
	sum := r.Sum
	r.Sum = 0
	if r.Session == 0 || res.Stale || res.Misused || res.Err != nil && res.Err.Code == wire.CodeSession {
		return
	}
	switch first, ok := m.sums[r]; { // 0: it was kept without a sum, and is compared by kind and extent
	case !ok:
		m.sums[r] = sum
	case first != 0 && sum != 0 && first != sum:
		m.Fatalf("entry %d: request %+v of sum %d is answered as that of sum %d: %+v", index, r, sum, first, res)
	}
}

// write does on the disks what the commands let nodes do.
func (m *model) write(cmds []state.Command, results []state.Result) {
	s := m.cell.State
	for i, c := range cmds {
		if results[i].Err != nil {
			continue
		}
		switch c := c.(type) {
		case *state.Admit:
			if results[i].Op != state.NewOpID(s.Applied, i) {
				continue // an answer from before
			}
			for _, id := range c.Replicas {
				m.files[file{id, results[i].Extent}] = true
			}
		case *state.Start:
			if f := (file{c.Target, results[i].Extent}); c.Target != "" {
				m.files[f] = false
			}
		case *state.Finish:
			if o := s.Op(c.Op); o.Copies() && o.State == state.OpDone {
				m.files[file{o.Target, o.Extent}] = true
			} else if o.Kind == policies.KindSeal && o.State == state.OpDone {
				for _, id := range c.Confirmed { // a doubt that was wrong: it has been read in full
					m.files[file{id, o.Extent}] = true
				}
			}
		case *state.Suspect:
			if e := s.Extent(c.Extent); e.MayHoldFile(c.Node) {
				m.files[file{c.Node, c.Extent}] = false
			}
		case *state.RemoveNode:
			for f := range m.files {
				if f.node == c.Node {
					delete(m.files, f)
				}
			}
		}
	}
}

func (m *model) check() {
	s := m.cell.State
	if err := state.CheckInvariants(&s.View); err != nil {
		m.Fatal(err)
	}
	if s.NowMicros < m.now || s.NowMicros != m.twin.NowMicros {
		m.Fatalf("time went from %d to %d, at the twin to %d", m.now, s.NowMicros, m.twin.NowMicros)
	}
	m.now = s.NowMicros
	s.Ops(0, func(o *state.Op) bool {
		life := fmt.Sprintf("%+v", *o)
		if old, ok := m.ended[o.ID]; ok && old != life {
			m.Fatalf("an ended operation changed from\n%s\nto\n%s", old, life)
		}
		if o.State.Ended() {
			m.ended[o.ID] = life
		}
		return true
	})
	for id := range m.deleted {
		if e := s.Extent(id); e != nil && e.State != state.ExtentDeleted {
			m.Fatalf("a deleted extent came back: %s", e)
		}
	}
	s.Extents(0, func(e *state.Extent) bool {
		if e.State == state.ExtentDeleted && !e.Kept() {
			m.deleted[e.ID] = true
		}
		for _, r := range e.Replicas {
			if whole := m.files[file{r.Node, e.ID}]; r.State == state.ReplicaWhole && !whole && !e.Damaged {
				m.Fatalf("node %s has no whole file of %s", r.Node, e)
			}
		}
		return true
	})
	m.checkDug()
	for f := range m.files {
		if s.Extent(f.extent) == nil {
			m.Fatalf("extent %d was forgotten while node %s had a file of it", f.extent, f.node)
		}
	}
}

func (m *model) node() state.NodeID { return rapid.SampledFrom(nodes).Draw(m.T, "node") }

func (m *model) extent() state.ExtentID {
	return state.ExtentID(rapid.Uint64Range(1, uint64(m.cell.State.NextExtent)).Draw(m.T, "extent"))
}

// opIn is the ID of an operation in one of the states; now and then any number.
func (m *model) opIn(states ...state.OpState) state.OpID {
	var ids []state.OpID
	m.cell.State.Ops(0, func(o *state.Op) bool {
		if slices.Contains(states, o.State) {
			ids = append(ids, o.ID)
		}
		return true
	})
	if len(ids) == 0 || rapid.IntRange(0, 19).Draw(m.T, "any") == 0 {
		return state.OpID(rapid.Uint64Range(0, uint64(state.NewOpID(m.cell.State.Applied+2, 2))).Draw(m.T, "op"))
	}
	return rapid.SampledFrom(ids).Draw(m.T, "op")
}

// command is a random command. The weights let most operations get to their end.
func (m *model) command() state.Command {
	s := m.cell.State
	switch rapid.IntRange(0, 35).Draw(m.T, "command") {
	case 0, 1, 2, 3, 4, 5, 6, 7:
		return m.admit()
	case 8, 9, 10, 11, 12, 13, 14:
		return m.start()
	case 15, 16, 17, 18, 19:
		return m.finish()
	case 20, 21, 22:
		if len(m.gone) > 0 {
			return rapid.SampledFrom(m.gone).Draw(m.T, "gone")
		}
		return &state.Gone{Extent: m.extent(), Node: m.node()} // without having dropped it: Since is wrong
	case 23:
		return &state.Cancel{Op: m.opIn(state.OpQueued, state.OpRunning, state.OpDone)}
	case 24:
		return m.doubt()
	case 25:
		return &state.Rescore{Op: m.opIn(state.OpQueued),
			Decision: state.Decision{Epoch: s.PolicyEpoch, Priority: rapid.Int32().Draw(m.T, "priority")}}
	case 26, 27:
		n := &state.SetNodeState{Node: m.node(), State: rapid.SampledFrom([]state.NodeState{0, 1, 2, 2, 2, 3}).Draw(m.T,
			"state")}
		if known := s.Node(n.Node); known != nil {
			n.Incarnation = known.Incarnation
		}
		return n
	case 28:
		return &state.Join{Node: m.node(), Addr: "a", Incarnation: rapid.Uint64Range(1, 3).Draw(m.T, "incarnation"),
			Unproven: rapid.Bool().Draw(m.T, "unproven")}
	case 29, 30:
		return m.punch()
	case 31, 32, 33, 34:
		return m.grace()
	}
	return m.rare()
}

// doubt is a report about one replica.
func (m *model) doubt() state.Command {
	if rapid.Bool().Draw(m.T, "proves") {
		length := rapid.Uint64Range(0, 3).Draw(m.T, "length")
		return &state.Proven{Extent: m.extent(), Node: m.node(), Length: length,
			Floor: rapid.Uint64Range(0, 3).Draw(m.T, "floor")}
	}
	return &state.Suspect{Extent: m.extent(), Node: m.node(), Always: rapid.Bool().Draw(m.T, "always"),
		From: rapid.Uint64Range(0, 3).Draw(m.T, "from")}
}

func (m *model) rare() state.Command {
	digest := rapid.SampledFrom([]string{"", "a", "b"}).Draw(m.T, "digest")
	switch rapid.IntRange(0, 9).Draw(m.T, "rare") {
	case 0:
		return &state.LoadPolicy{Digest: digest}
	case 1:
		return &state.ActivatePolicy{Digest: digest}
	case 2:
		return &state.RollbackPolicy{}
	case 3:
		if rapid.Bool().Draw(m.T, "budget") {
			return &state.Set{Key: "policy-batch-budget", Value: rapid.SampledFrom([]string{"1Ki", "32Mi", "1Gi"}).Draw(m.T,
				"value")}
		}
		if rapid.Bool().Draw(m.T, "quotas") {
			return &state.Set{Key: "quotas", Value: rapid.SampledFrom([]string{
				"none", "class=* extents=3", "class=a bytes=2; class=* bytes=9", "identity=* extents=2; identity=client/a bytes=3",
			}).Draw(m.T, "value")}
		}
		return &state.Set{Key: "max-attempts", Value: rapid.SampledFrom([]string{"1", "3", "8", "0"}).Draw(m.T, "value")}
	case 4, 5:
		return &state.OpenSession{AskedBy: m.asker()}
	case 6:
		return &state.SetVoter{Node: m.node(), Voter: rapid.Bool().Draw(m.T, "voter")}
	case 8:
		return &state.NodeRoom{Node: m.node(), Free: 1, Total: 2,
			Refuses: rapid.SampledFrom([]string{"", "", "full"}).Draw(m.T, "refuses")}
	case 9:
		return m.oneByOne()
	case 7:
		return nil // what a decoder may make of a command that it does not know
	}
	return &state.RemoveNode{Node: m.node(), Forced: rapid.Bool().Draw(m.T, "forced")}
}

func (m *model) admit() state.Command {
	kind := rapid.SampledFrom([]policies.Kind{1, 1, 2, 2, 2, 3, 3, 4, 4, 5, 5, 6, 7, 7, 8}).Draw(m.T, "kind")
	a := &state.Admit{Kind: kind, Origin: policies.OriginCell, Urgent: rapid.IntRange(0, 9).Draw(m.T, "urgent") == 0,
		Start: rapid.Bool().Draw(m.T, "start")}
	switch kind {
	case policies.KindCreate:
		a.Replicas = rapid.SliceOfNDistinct(rapid.SampledFrom(nodes), 1, 3, rapid.ID).Draw(m.T, "on")
		a.Want = uint8(rapid.IntRange(len(a.Replicas), 3).Draw(m.T, "want"))
		a.Class = rapid.SampledFrom([]string{"", "a", "b"}).Draw(m.T, "class")
		a.Origin = rapid.SampledFrom([]policies.Origin{policies.OriginCell, policies.OriginUser}).Draw(m.T, "origin")
		a.Owner = rapid.SampledFrom([]state.Identity{"", "client/a", "client/b"}).Draw(m.T, "owner")
		a.AskedBy = rapid.SampledFrom([]state.Identity{"", "client/a", "admin/b"}).Draw(m.T, "by")
	case policies.KindDecommission, policies.KindRecommission:
		a.Node = m.node()
	case policies.KindMove:
		a.Extent, a.Node = m.extent(), m.node()
		if n := m.cell.State.Node(a.Node); n != nil && n.Mode == state.ModeDecommissioning {
			a.Parent = n.Decommission
		}
		a.Target = rapid.SampledFrom(append(nodes, "", "")).Draw(m.T, "to")
		a.Named = a.Target != "" && rapid.Bool().Draw(m.T, "named")
	case policies.KindPunch:
		a.Extent, a.Node = m.extent(), m.node()
	default:
		a.Extent, a.GraceMicros = m.extent(), m.graceOf(kind)
	}
	if rapid.IntRange(0, 3).Draw(m.T, "idempotent") == 0 {
		a.Request.Session = rapid.SampledFrom(append(m.opened, 1)).Draw(m.T, "session")
		a.Request.Seq = rapid.Uint64Range(0, 5).Draw(m.T, "seq")
		a.Request.Sum = rapid.Uint64Range(0, 2).Draw(m.T, "sum")
		a.AskedBy = m.asker()
	}
	m.cell.Decide(a, statetest.Overrides{})
	m.meddle(a)
	return a
}

func (m *model) asker() state.Identity {
	return rapid.SampledFrom([]state.Identity{"", "client/a", "client/a", "client/b", "node/n1"}).Draw(m.T, "asker")
}

// meddle makes some decisions differ from what the native policy says: any verdict, safe or not.
func (m *model) meddle(a *state.Admit) {
	for i := range a.Decision.Conflicts {
		if rapid.Bool().Draw(m.T, "meddle") {
			a.Decision.Conflicts[i].Final = rapid.SampledFrom([]policies.Verdict{1, 2, 2, 2, 3, 3, 3, 4, 5, 9}).Draw(m.T,
				"verdict")
		}
	}
	switch rapid.IntRange(0, 29).Draw(m.T, "wrong") {
	case 0:
		a.Gen++
	case 1:
		a.Decision.Epoch++
	case 2:
		a.Decision.Conflicts = append(a.Decision.Conflicts, state.Conflict{With: 77, Final: policies.Wait})
	case 3:
		a.Extent, a.Node = m.extent(), m.node()
	}
}

func (m *model) start() state.Command {
	s := m.cell.State
	c := &state.Start{Op: m.opIn(state.OpQueued)}
	o := s.Op(c.Op)
	if o != nil && o.Kind == policies.KindPunch && rapid.IntRange(0, 5).Draw(m.T, "elsewhere") > 0 {
		c.Executor = o.Node
	}
	if o == nil || !o.Copies() {
		return c
	}
	c.Target, c.Replaces = m.node(), m.node()
	if o.Kind == policies.KindMove {
		c.Replaces = o.Node
	} else if rapid.Bool().Draw(m.T, "replaces none") {
		c.Replaces = ""
	}
	c.Source = m.node()
	if e := s.Extent(o.Extent); e != nil && len(e.Replicas) > 0 {
		c.Source = rapid.SampledFrom(e.Replicas).Draw(m.T, "source").Node
	}
	return c
}

func (m *model) finish() state.Command {
	c := &state.Finish{Op: m.opIn(state.OpRunning), Outcome: rapid.SampledFrom([]state.Outcome{1, 1, 1, 1, 2, 2, 3,
		0}).Draw(m.T, "outcome")}
	o := m.cell.State.Op(c.Op)
	if o == nil {
		return c
	}
	c.Fence = o.Fence
	if rapid.IntRange(0, 9).Draw(m.T, "late") == 0 {
		c.Fence--
	}
	if e := m.cell.State.Extent(o.Extent); e != nil && o.Kind == policies.KindSeal {
		c.Length = rapid.Uint64Range(0, 3).Draw(m.T, "length")
		for _, r := range e.Replicas {
			if rapid.IntRange(0, 3).Draw(m.T, "confirms") > 0 {
				c.Confirmed = append(c.Confirmed, r.Node)
			}
		}
	}
	return c
}
