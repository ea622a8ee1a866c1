package logs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

const (
	manyBehind = 1000 // entries by which a node that is up lags
	mostStuck  = 20   // stuck operations that are told one by one, those that are open for longest
)

// present looks at the cell as it is at the end: what is stuck, and which nodes lag.
func (d *diagnosing) present(ctx context.Context, s Source) error {
	if d.damaged.count > 0 {
		d.add(d.damaged.finding(FoundDamaged, "entries cannot be read; the last: "+d.damaged.sample,
			"log verify says in which file"))
	}
	now, err := presentOf(ctx, s, &collector{last: d.last, index: d.index, micros: d.micros})
	if err != nil {
		return err
	}
	d.out.Now = now.micros
	switch {
	case now.node == nil && now.past == nil && d.out.Damaged():
		d.out.Partial = "what is stuck and what was refused is not told: the entries that lead to it are damaged; " +
			"the log of another node tells more"
	case now.node == nil && now.past == nil:
		d.out.Partial = "what is stuck and what was refused is not told: the entries that lead to it are not all there; " +
			"the data folder of a stopped node tells more (--dir)"
	case !d.wholeState:
		d.out.Partial = "commands that were refused before the first snapshot, or in entries that a running node has " +
			"no more, are not told"
	}
	delay, err := now.setting(ctx, "repair-delay")
	if err != nil {
		return err
	}
	repairDelay, _ := time.ParseDuration(delay) // 0 where it is not known
	if err := d.stuck(ctx, now); err != nil {
		return err
	}
	for _, n := range now.nodes {
		d.node(now, n, repairDelay)
	}
	if folder, ok := s.(*Folder); ok {
		d.behind(folder)
	}
	if now.node != nil {
		return d.lagging(ctx, now)
	}
	return nil
}

// openOps are the operations that have not ended.
func (p *present) openOps(ctx context.Context) func(func(wire.Op, error) bool) {
	switch {
	case p.node != nil:
		return p.node.Client.Ops(ctx, wire.OpsRequest{Open: true})
	case p.past == nil:
		return func(func(wire.Op, error) bool) {}
	}
	return func(yield func(wire.Op, error) bool) {
		p.past.view.Ops(0, func(o *state.Op) bool { return o.State.Ended() || yield(p.past.op(o, false), nil) })
	}
}

// stuck tells of the operations that are open for long.
func (d *diagnosing) stuck(ctx context.Context, now *present) error {
	var longest []wire.Op
	count := 0
	since := func(o wire.Op) int64 {
		if o.State == state.OpRunning.String() && o.Started > 0 {
			return o.Started
		}
		return o.Admitted
	}
	for o, err := range now.openOps(ctx) {
		if err != nil {
			return err
		}
		if now.micros-since(o) < d.complaints.StuckAfter.Microseconds() {
			continue
		}
		count++
		at, _ := slices.BinarySearchFunc(longest, o, func(a, b wire.Op) int {
			return int(max(min(since(a)-since(b), 1), -1))
		})
		if longest = slices.Insert(longest, at, o); len(longest) > mostStuck {
			longest = longest[:mostStuck]
		}
	}
	for _, o := range longest {
		f := stuckFinding(now, o, now.micros-since(o))
		f.Since = since(o)
		d.add(f)
	}
	if count > len(longest) {
		d.add(Finding{Kind: FoundStuck, Count: 1, Since: since(longest[len(longest)-1]), What: fmt.Sprintf(
			"%d more operations are open for as long; these are the oldest", count-len(longest)), Do: "op ls --open lists all"})
	}
	return nil
}

func stuckFinding(now *present, o wire.Op, micros int64) Finding {
	f := Finding{Kind: FoundStuck, Count: 1, Do: "log explain " + o.ID}
	subject := o.Kind + " " + o.ID
	switch {
	case o.Extent != 0:
		subject += fmt.Sprintf(" of extent %d", o.Extent)
	case o.Node != "":
		subject += " of node " + o.Node
	}
	f.What = fmt.Sprintf("%s is %s for %s", subject, o.State, lengthText(micros))
	if id, err := state.ParseOpID(o.ID); err == nil {
		f.Entries = []uint64{uint64(id.Index())}
		if o.Fence != 0 {
			f.Entries = append(f.Entries, o.Fence)
		}
		if now.past != nil {
			if kept := now.past.view.Op(id); int64(kept.NotBeforeMicros) > now.micros {
				f.Until = int64(kept.NotBeforeMicros)
			}
		}
	}
	switch {
	case o.State == state.OpRunning.String():
		f.What += running(now, o)
		f.Do += "; op cancel " + o.ID + " ends it, where its kind allows that"
	case o.Blocked != "":
		f.What += ": " + o.Blocked
	default:
		f.What += ", and nothing holds it back"
		f.Do = "status says whether there is a leader, which starts operations; then log explain " + o.ID
	}
	for _, w := range o.Waits {
		if id, err := state.ParseOpID(w); err == nil {
			f.Entries = append(f.Entries, uint64(id.Index()))
		}
	}
	return f
}

// running says what an operation that runs does, and whether who takes part in it is there.
func running(now *present, o wire.Op) string {
	text := ""
	if o.Source != "" {
		text += fmt.Sprintf(", copying from %s to %s", o.Source, o.Target)
	}
	if o.Attempts > 1 {
		text += fmt.Sprintf(", attempt %d", o.Attempts)
	}
	if o.Blocked+o.Detail != "" {
		text += ": " + strings.TrimPrefix(o.Blocked+"; "+o.Detail, "; ")
	}
	for _, n := range now.nodes {
		if n.State != state.NodeUp.String() && n.ID != "" && (n.ID == o.Source || n.ID == o.Target || n.ID == o.Node) {
			text += fmt.Sprintf("; %s is %s since %s", n.ID, n.State, stampText(n.Since))
		}
	}
	return text
}

// node tells of a node that is down.
func (d *diagnosing) node(now *present, n wire.Node, repairDelay time.Duration) {
	switch {
	case n.State == state.NodeUp.String() || n.Mode == state.ModeDecommissioned.String():
		return
	case n.State == state.NodeJoining.String() && now.micros-n.Since < d.complaints.StuckAfter.Microseconds():
		return
	}
	f := Finding{Kind: FoundNode, Since: n.Since, Count: 1,
		What: fmt.Sprintf("%s is %s since %s", n.ID, n.State, stampText(n.Since)), Do: "log explain " + n.ID}
	for _, due := range nodeDue(now, n, repairDelay) {
		f.What += "; " + due
	}
	if last := d.falls.by[n.ID]; last != nil {
		f.Entries = []uint64{last.last.index}
	}
	if d.last != nil {
		if kept := d.last.Node(state.NodeID(n.ID)); kept != nil && kept.Seen != 0 && uint64(kept.Seen) < d.index {
			f.What += fmt.Sprintf("; when it was last heard it had entry %d, which is %d before the last", kept.Seen,
				d.index-uint64(kept.Seen))
		}
	}
	d.add(f)
}

// behind tells of a folder whose node had not applied what its log has.
func (d *diagnosing) behind(f *Folder) {
	if applied := uint64(f.Applied.Index); applied != 0 && applied+manyBehind < uint64(f.Last) {
		d.add(Finding{Kind: FoundNode, Count: 1, Entries: []uint64{applied, uint64(f.Last)}, What: fmt.Sprintf(
			"this node had applied its log up to entry %d when it stopped, and the log ends with entry %d", applied, f.Last),
			Do: "compare with the other nodes: log status --dir; the last entries may never have been agreed on"})
	}
}

// lagging asks each node that is up how far it is.
func (d *diagnosing) lagging(ctx context.Context, now *present) error {
	for _, n := range now.nodes {
		if n.State != state.NodeUp.String() {
			continue
		}
		at, err := now.node.Client.LogChain(ctx, n.ID, 0)
		if ctx.Err() != nil {
			return err
		}
		told := (*wire.Error)(nil)
		switch {
		case err != nil && errors.As(err, &told) && told.Code == wire.CodeDenied:
			return err
		case err != nil:
			d.add(Finding{Kind: FoundNode, Count: 1, What: fmt.Sprintf("%s does not say how far its log is: %s", n.ID,
				err.Error()), Do: "health --node " + n.ID})
		case at.Index+manyBehind < now.index:
			d.add(Finding{Kind: FoundNode, Count: 1, What: fmt.Sprintf("%s has applied entry %d, which is %d before the last",
				n.ID, at.Index, now.index-at.Index), Do: "health --node " + n.ID + "; conns shows the connections to it"})
		}
	}
	return nil
}
