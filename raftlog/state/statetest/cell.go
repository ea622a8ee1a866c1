// Package statetest drives a state by lines of text, so that tests of the state and of what is built
// on it can be read. Each line is one entry of the log:
//
//	join n1 n2 n3 [voter]               nodes join and are up        set KEY VALUE
//	down n1 [seen=9] | up n1 | remove n1                             session [as=client/me]
//	create on=n1,n2,n3 [want=3]         admits; see admit.go         load D [key=value] | activate [D] | rollback
//	start 7 [executor=] [source= target= replaces=]                  clock 10s | clock 2026-03-29T02:30:00+01:00
//	finish 7 done|retry|fail [fence=] [detail=] [length= sum= confirmed=n1,n2 | damaged length= from=]
//	room n1 free=5 total=100 [refuses=WHY]
//	pause n1 for=30m [forced] [as=admin/me] | resume n1 [until=30m]
//	reorder 7 [before=6]
//	cancel 7 | rescore 7 priority=5 | gone 1 n2 [since=] | suspect 1 n2 [always] [from=]
//	proven 1 n2 length= sum= [floor=]
//	undelete 1 [birth=] [as=client/me] | grace-end 1 2
//
// An operation is named by its ID, or by a kind, which means the newest operation of that kind.
//
// A Cell is used by one goroutine.
package statetest

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/raftlog/state"
)

// Cell is a state and what it takes to write its next entry.
type Cell struct {
	State *state.State
	Now   state.Micros
	Log   func(state.Index, state.Micros, []state.Command) // gets every entry; nil: nobody

	last map[string]state.OpID // newest operation of each kind, and "session"
}

// New is a cell before its first entry, at the moment 0.
func New() *Cell { return &Cell{State: state.New(), last: map[string]state.OpID{}} }

// Apply applies the commands as the next entry.
func (c *Cell) Apply(cmds ...state.Command) []state.Result {
	if c.Log != nil {
		c.Log(c.State.Applied+1, c.Now, cmds)
	}
	return c.State.Apply(c.State.Applied+1, c.Now, cmds)
}

// Run applies a line and says what it came to: the entry's index, the line's first word, the result.
func (c *Cell) Run(line string) string {
	l, err := c.parse(line)
	if err != nil {
		return err.Error()
	}
	if l.word == "clock" {
		return c.advance(l)
	}
	cmds, err := c.commands(l)
	if err != nil {
		return line + ": " + err.Error()
	}
	results := c.Apply(cmds...)
	res := results[len(results)-1]
	switch {
	case res.Session != 0:
		c.last["session"] = state.OpID(res.Session)
	case res.Op != 0:
		c.last[l.word] = res.Op
	}
	return fmt.Sprintf("%d %s %s", c.State.Applied, l.word, res)
}

// RunAll runs the lines of a text.
func (c *Cell) RunAll(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			fmt.Fprintln(&b, c.Run(line))
		}
	}
	return b.String()
}

// advance moves the time by a duration, or to a moment such as 2026-03-29T02:30:00+01:00.
func (c *Cell) advance(l *line) string {
	if at, err := time.Parse(time.RFC3339, l.arg(0)); err == nil {
		c.Now = state.Micros(at.UnixMicro())
		return "it is " + at.UTC().Format(time.RFC3339)
	}
	d, err := time.ParseDuration(l.arg(0))
	if err != nil {
		return err.Error()
	}
	c.Now += state.Micros(d.Microseconds())
	return "it is " + c.Now.Duration().String()
}

// commands are those of a line.
func (c *Cell) commands(l *line) ([]state.Command, error) {
	if l.word == "punch" && strings.Contains(l.arg(0), ":") {
		return []state.Command{l.punch()}, l.err
	}
	if a, ok := l.admit(); ok {
		if l.err == nil {
			c.Decide(a, l.overrides())
		}
		return []state.Command{a}, l.err
	}
	if l.word == "join" {
		return l.joins(), l.err
	}
	cmd := c.other(l)
	if cmd == nil && l.err == nil {
		l.err = fmt.Errorf("there is no command %q", l.word)
	}
	return []state.Command{cmd}, l.err
}

func (l *line) joins() (cmds []state.Command) {
	incarnation := l.number("incarnation", 1)
	for _, name := range l.args {
		if name == "voter" || name == "unproven" || name == "joining" {
			continue
		}
		id := state.NodeID(name)
		cmds = append(cmds, &state.Join{Node: id, Addr: name + ":7400", Incarnation: incarnation, Voter: l.has("voter"),
			Seen: state.Index(l.number("seen", 0)), Unproven: l.has("unproven"), Level: state.Level(l.number("level", 0))})
		if !l.has("joining") {
			cmds = append(cmds, &state.SetNodeState{Node: id, State: state.NodeUp, Incarnation: incarnation})
		}
	}
	return cmds
}

func (c *Cell) other(l *line) state.Command {
	node := state.NodeID(l.arg(0))
	switch l.word {
	case "genesis":
		return &state.Genesis{Cell: l.arg(0)}
	case "down":
		return &state.SetNodeState{Node: node, State: state.NodeDown, Seen: state.Index(l.number("seen", 0))}
	case "up":
		return &state.SetNodeState{Node: node, State: state.NodeUp, Incarnation: l.number("incarnation", 1)}
	case "voter":
		return &state.SetVoter{Node: node, Voter: l.arg(1) == "yes"}
	case "remove":
		return &state.RemoveNode{Node: node, Incarnation: l.number("incarnation", 0), Forced: l.has("forced")}
	case "room":
		return l.room(node)
	case "pause", "resume":
		return &state.Pause{Node: node, For: l.micros("for"), Until: l.micros("until"), Forced: l.has("forced"),
			AskedBy: l.asker()}
	case "session":
		return &state.OpenSession{Client: l.arg(0), AskedBy: l.asker()}
	case "set":
		return &state.Set{Key: l.arg(0), Value: l.rest}
	case "load":
		return l.load()
	case "activate":
		return &state.ActivatePolicy{Digest: l.arg(0)}
	case "rollback":
		return &state.RollbackPolicy{}
	case "gone":
		return c.gone(l)
	case "suspect":
		return &state.Suspect{Extent: l.extent(), Node: state.NodeID(l.arg(1)), Always: l.has("always"),
			From: l.number("from", 0)}
	case "undelete":
		return &state.Undelete{Extent: l.extent(), Birth: uint32(l.number("birth", 0)), AskedBy: l.asker()}
	case "grace-end":
		end := &state.EndGrace{}
		for _, id := range l.args {
			end.Extents = append(end.Extents, state.ExtentID(l.parsed(id)))
		}
		return end
	case "proven":
		return &state.Proven{Extent: l.extent(), Node: state.NodeID(l.arg(1)), Length: l.number("length", 0),
			Sum: uint32(l.number("sum", 0)), Floor: l.number("floor", 0)}
	}
	return c.onOp(l)
}

// micros is a duration, or a moment since 1970.
func (l *line) micros(key string) state.Micros {
	text, ok := l.keys[key]
	if !ok {
		return 0
	}
	d, err := time.ParseDuration(text)
	l.err = cmp.Or(l.err, err)
	return state.Micros(d.Microseconds())
}

// load is of a module, configured where the line has keys; a second argument is the digest of both, where
// it is not to be the right one.
func (l *line) load() state.Command {
	p := &state.LoadPolicy{Digest: l.arg(0), Name: l.arg(0)}
	if len(l.keys) > 0 {
		p.Module, p.Config = l.arg(0), l.keys
		p.Digest = cmp.Or(l.arg(1), policies.ConfiguredDigest(p.Module, p.Config))
	}
	return p
}

// before is the operation that a reorder puts another before; none: all of them.
func (c *Cell) before(l *line) (state.OpID, error) {
	text, ok := l.keys["before"]
	if !ok {
		return 0, nil
	}
	return c.Op(text)
}

// gone confirms what is asked of the node, unless the line says since when.
func (c *Cell) gone(l *line) state.Command {
	g := &state.Gone{Extent: l.extent(), Node: state.NodeID(l.arg(1))}
	if e := c.State.Extent(g.Extent); e != nil {
		g.Since, _ = e.FormerSince(g.Node)
	}
	g.Since = state.Index(l.number("since", uint64(g.Since)))
	return g
}

func (c *Cell) onOp(l *line) state.Command {
	switch l.word {
	case "start":
		return &state.Start{Op: l.op(), Source: l.node("source"), Target: l.node("target"),
			Executor: l.node("executor"), Replaces: l.node("replaces")}
	case "finish":
		return c.finish(l)
	case "cancel":
		return &state.Cancel{Op: l.op(), Note: "cancelled"}
	case "reorder":
		before, err := c.before(l)
		l.err = cmp.Or(l.err, err)
		return &state.Reorder{Op: l.op(), Before: before}
	case "rescore":
		d := state.Decision{Policy: "test", Reason: "test", Epoch: l.number("epoch", c.State.PolicyEpoch),
			Priority: l.priority()}
		return &state.Rescore{Op: l.op(), Decision: d}
	}
	return nil
}

func (c *Cell) finish(l *line) state.Command {
	outcomes := map[string]state.Outcome{"done": state.OutcomeDone, "retry": state.OutcomeRetry, "fail": state.OutcomeFail}
	f := &state.Finish{
		Op: l.op(), Outcome: outcomes[l.arg(1)], Detail: l.keys["detail"],
		Length: l.number("length", 0), Sum: uint32(l.number("sum", 0)), Confirmed: l.nodes("confirmed"),
		Damaged: l.has("damaged"), DamagedFrom: l.number("from", 0),
	}
	if o := c.State.Op(f.Op); o != nil {
		f.Fence = o.Fence
	}
	f.Fence = state.Fence(l.number("fence", uint64(f.Fence)))
	return f
}

// Op is the operation that a word means: "4711", or the newest of a kind, such as "repair".
func (c *Cell) Op(word string) (state.OpID, error) {
	if id, ok := c.last[word]; ok {
		return id, nil
	}
	return state.ParseOpID(word)
}

// line is a line of text: a word, arguments and key=value pairs. The first thing wrong is kept.
type line struct {
	cell *Cell
	word string
	args []string
	keys map[string]string
	rest string // of a set: what follows the key
	err  error
}

func (c *Cell) parse(text string) (*line, error) {
	fields := strings.Fields(text)
	if len(fields) == 0 {
		return nil, fmt.Errorf("an empty line is no command")
	}
	l := &line{cell: c, word: fields[0], keys: map[string]string{}}
	if len(fields) > 2 {
		l.rest = strings.TrimSpace(text[strings.Index(text, fields[1])+len(fields[1]):])
	}
	for _, f := range fields[1:] {
		if key, value, ok := strings.Cut(f, "="); ok {
			l.keys[key] = value
		} else {
			l.args = append(l.args, f)
		}
	}
	return l, nil
}

// room is what a node says of its disks: room n1 free=6 total=9 largest=4 refuses=full d1=failed d2=draining.
func (l *line) room(node state.NodeID) state.Command {
	room := &state.NodeRoom{Node: node, Free: l.number("free", 0), Total: l.number("total", 0),
		Refuses: l.keys["refuses"], Largest: l.number("largest", 0)}
	for i := range 9 {
		disk := fmt.Sprintf("d%d", i)
		if is := l.keys[disk]; is != "" {
			room.Disks = append(room.Disks, state.NodeDisk{Disk: disk, State: is})
		}
	}
	return room
}

func (l *line) arg(i int) string {
	if i < len(l.args) {
		return l.args[i]
	}
	return ""
}

func (l *line) has(word string) bool {
	for _, a := range l.args {
		if a == word {
			return true
		}
	}
	return false
}

func (l *line) number(key string, otherwise uint64) uint64 {
	text, ok := l.keys[key]
	if !ok {
		return otherwise
	}
	return l.parsed(text)
}

func (l *line) parsed(text string) uint64 {
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil && l.err == nil {
		l.err = err
	}
	return n
}

// duration is a length of the cell's time; 0 where the line has none.
func (l *line) duration(key string) state.Micros {
	text, ok := l.keys[key]
	if !ok {
		return 0
	}
	d, err := time.ParseDuration(text)
	if err != nil && l.err == nil {
		l.err = err
	}
	return state.Micros(d.Microseconds())
}

func (l *line) priority() int32 {
	n, err := strconv.ParseInt(l.keys["priority"], 10, 32)
	if err != nil && l.err == nil {
		l.err = err
	}
	return int32(n)
}

func (l *line) extent() state.ExtentID { return state.ExtentID(l.parsed(l.arg(0))) }

func (l *line) op() state.OpID {
	id, err := l.cell.Op(l.arg(0))
	if err != nil && l.err == nil {
		l.err = err
	}
	return id
}

func (l *line) node(key string) state.NodeID { return state.NodeID(l.keys[key]) }

// asker is whose certificate stands behind the command: as=client/me; nobody's without.
func (l *line) asker() state.Identity { return state.Identity(l.keys["as"]) }

func (l *line) nodes(key string) (ids []state.NodeID) {
	for _, name := range strings.FieldsFunc(l.keys[key], func(r rune) bool { return r == ',' }) {
		ids = append(ids, state.NodeID(name))
	}
	return ids
}
