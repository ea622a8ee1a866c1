package lead

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/datanode/datanode/node/modules"
	"github.com/datanode/datanode/node/schedule"
	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/raftlog/state/statetest"
)

// agingCell is a state with a leader's aging over it, in virtual time and without a log.
type agingCell struct {
	*statetest.Cell
	t       testing.TB
	decider *decider
	ages    aging
}

// newAgingCell has p as its policy, the native default for nil.
func newAgingCell(t testing.TB, p policies.Policy) *agingCell {
	registry := modules.New(modules.Options{Logger: slog.New(slog.DiscardHandler)})
	c := &agingCell{Cell: statetest.New(), t: t, decider: &decider{modules: registry}}
	if p != nil {
		registry.Keep(t.Context(), p.Info().Digest, p)
		c.run("load " + p.Info().Digest)
		c.run("activate " + p.Info().Digest)
	}
	c.run("join n1 n2 n3 n4")
	return c
}

// run applies lines, as package statetest has them. All must be carried out.
func (c *agingCell) run(lines ...string) {
	c.t.Helper()
	for _, line := range lines {
		out := c.Run(line)
		if !strings.HasSuffix(out, "ok") && !strings.Contains(out, " ok ") && !strings.HasPrefix(out, "it is") {
			c.t.Fatalf("%s: %s", line, out)
		}
	}
}

// admit applies a line that admits an operation, decided by the cell's policy, and gives the operation.
func (c *agingCell) admit(line string) state.OpID {
	c.t.Helper()
	c.run(line)
	id, err := c.Op(strings.Fields(line)[0])
	if err != nil {
		c.t.Fatal(err)
	}
	ops := []*state.Op{c.State.Op(id)}
	for i, cmd := range c.decider.askAgain(c.t.Context(), c.view(), ops).changed(ops) {
		if res := c.Apply(cmd)[0]; res.Err != nil {
			c.t.Fatalf("command %d: %v", i, res.Err)
		}
	}
	return id
}

// sealed makes an extent that lacks a replica.
func (c *agingCell) sealed(id int) {
	c.t.Helper()
	c.run("create on=n1,n2 want=3", "start create executor=n1", "finish create done", fmt.Sprint("seal ", id),
		"start seal executor=n1", "finish seal done length=9 confirmed=n1,n2")
}

func (c *agingCell) view() *state.View {
	return schedule.AtTime(c.State.Snapshot(), c.Now)
}

// age asks about one batch as aging.round does, applies what that comes to, and says which operations were
// asked about and how many commands an entry would have.
func (c *agingCell) age() (asked []state.OpID, written int) {
	c.t.Helper()
	view := c.view()
	ops := c.ages.due(view)
	for _, o := range ops {
		asked = append(asked, o.ID)
	}
	cmds := c.decider.askAgain(c.t.Context(), view, ops).changed(ops)
	if len(cmds) == 0 {
		return asked, 0
	}
	for i, res := range c.Apply(cmds...) {
		if res.Err != nil {
			c.t.Fatalf("rescore %d: %v", i, res.Err)
		}
	}
	return asked, len(cmds)
}

// order are the queued operations in the order in which they would start.
func (c *agingCell) order() (ids []state.OpID) {
	c.State.Queued(func(o *state.Op) bool { ids = append(ids, o.ID); return true })
	return ids
}

// first is what the next round of the scheduler would start first.
func (c *agingCell) first() state.OpID {
	c.t.Helper()
	starts := schedule.Next(c.view(), schedule.Moment{Cell: c.Now}).Starts
	if len(starts) == 0 {
		c.t.Fatal("nothing starts")
	}
	return starts[0].Op
}

// Under the native default a repair whose first attempt came to nothing goes behind the others, and by
// waiting it comes before those that are admitted later.
func TestAgeOvertakes(t *testing.T) {
	c := newAgingCell(t, nil)
	c.sealed(1)
	c.sealed(2)
	c.sealed(3)
	c.run("set max-attempts 9", "repair 1", "start repair source=n1 target=n4 executor=n4", "finish repair retry")
	tried, _ := c.Op("repair")
	fresh := c.admit("repair 2")
	c.run("clock 61s")
	if _, written := c.age(); written != 2 {
		t.Fatalf("%d priorities changed, want both", written)
	}
	if got, want := fmt.Sprint(c.order()), fmt.Sprint([]state.OpID{fresh, tried}); got != want {
		t.Fatalf("after an attempt the order is %s, want %s", got, want)
	}
	c.run("clock 20m")
	c.age()
	late := c.admit("repair 3")
	if got, want := fmt.Sprint(c.order()), fmt.Sprint([]state.OpID{fresh, tried, late}); got != want {
		t.Errorf("after twenty minutes the order is %s, want %s", got, want)
	}
	if f := c.State.Op(tried).Decision.Facts; f.WaitingMicros != 1261_000_000 || f.Phase != policies.PhaseQueued {
		t.Errorf("decided from %d µs of waiting in phase %d", f.WaitingMicros, f.Phase)
	}
}

// hourPolicy is what quiet-hours is about: from 8 to 18 moves go last, until they have waited for long.
type hourPolicy struct{ policies.Policy }

func (hourPolicy) Info() policies.Info {
	return policies.Info{Name: "hours", Digest: "hours", Reasons: []string{"unspecified", "busy"}}
}

func (hourPolicy) Score(_ context.Context, facts []policies.Facts, out []policies.Score) (uint64, error) {
	for i, f := range facts {
		switch hour := time.UnixMicro(f.NowMicros).UTC().Hour(); {
		case f.Kind != policies.KindMove:
			out[i] = policies.Score{Priority: 2000}
		case hour >= 8 && hour < 18:
			out[i] = policies.Score{Priority: -9000 + int32(f.WaitingMicros/1e6), Reason: 1}
		default:
			out[i] = policies.Score{Priority: 3000}
		}
	}
	return 0, nil
}

// A move that must not disturb the busy hours starts when they end, or when it has waited for long enough:
// its priority is not for ever that of the hour in which it was admitted.
func TestHoursEnd(t *testing.T) {
	for _, c := range []struct {
		name     string
		admitted time.Duration // of the day
		waits    []time.Duration
		first    []string // what would start first, after each
	}{
		{
			"the hours end", 17*time.Hour + 30*time.Minute, []time.Duration{29 * time.Minute, 2 * time.Minute},
			[]string{"seal", "move"},
		},
		{
			"the bound", 8 * time.Hour, []time.Duration{time.Hour, 2 * time.Hour, 5 * time.Minute},
			[]string{"seal", "seal", "move"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			cell := newAgingCell(t, hourPolicy{policies.Native()})
			cell.run("clock "+c.admitted.String(), "set max-running 1")
			cell.sealed(1)
			cell.run("create on=n1", "start create executor=n1", "finish create done")
			cell.admit("move 1 from=n1")
			cell.admit("seal 2")
			for i, wait := range c.waits {
				cell.run("clock " + wait.String())
				cell.age()
				if got, _ := cell.Op(c.first[i]); cell.first() != got {
					t.Errorf("%s later operation %s starts first, want the %s, %s", wait, cell.first(), c.first[i], got)
				}
			}
		})
	}
}

// A round asks about one batch, oldest first, and goes on where the last one ended. Nobody is asked about
// twice within a minute, unless nothing was written.
func TestAgingIsBounded(t *testing.T) {
	c := newAgingCell(t, nil)
	var ids []state.OpID
	for range 2*decideAtOnce + 10 {
		ids = append(ids, c.admit("create on=n1"))
	}
	if asked, _ := c.age(); len(asked) != 0 {
		t.Fatalf("asked about %d new ones", len(asked))
	}
	c.run("clock 61s")
	var all []state.OpID
	for i, want := range []int{decideAtOnce, decideAtOnce, 10, 0} {
		asked, written := c.age()
		if len(asked) != want || written != want {
			t.Fatalf("round %d: asked about %d, wrote %d, want %d", i, len(asked), written, want)
		}
		all = append(all, asked...)
	}
	if fmt.Sprint(all) != fmt.Sprint(ids) {
		t.Errorf("asked in the order %v, want %v", all, ids)
	}
	for range 100 { // hours of it leave one line in an operation's history
		c.run("clock 61s")
		for range 3 {
			c.age()
		}
	}
	if steps := c.State.Op(ids[0]).Steps; len(steps) != 2 {
		t.Errorf("%d steps: %+v", len(steps), steps)
	}
	c.run("clock 61s")
	for range 10 {
		if asked, written := c.age(); written != 0 {
			t.Fatalf("asked about %d whose age counts no more, wrote %d", len(asked), written)
		}
	}
}

// Old operations whose priority stays do not keep the policy from being asked about those behind them.
func TestAgingPassesWhatStays(t *testing.T) {
	c := newAgingCell(t, hourPolicy{policies.Native()})
	c.run("clock 17h59m")
	for range 2 * decideAtOnce {
		c.admit("create on=n1")
	}
	c.sealed(2*decideAtOnce + 1)
	move := c.admit(fmt.Sprintf("move %d from=n1", 2*decideAtOnce+1))
	c.run("clock 61s")
	for i, want := range []int{0, 0, 1, 0, 0, 0} {
		if _, written := c.age(); written != want {
			t.Fatalf("round %d wrote %d, want %d", i, written, want)
		}
	}
	if d := c.State.Op(move).Decision; d.Priority != 3000 {
		t.Errorf("the move has priority %d after the hours", d.Priority)
	}
}

type failingPolicy struct {
	policies.Policy
	fail bool
}

func (p *failingPolicy) Info() policies.Info {
	return policies.Info{Name: "failing", Digest: "failing", Reasons: []string{"unspecified"}}
}

func (p *failingPolicy) Score(_ context.Context, facts []policies.Facts, out []policies.Score) (uint64, error) {
	if p.fail {
		return 0, errors.New("trap")
	}
	for i := range out {
		out[i].Priority = 5
	}
	return 0, nil
}

// A policy that fails when it is asked again loses no decision to the native default, whose priorities
// mean something else; what the native default had to decide is decided by the policy once it answers.
func TestAgingUnderAFailingPolicy(t *testing.T) {
	p := &failingPolicy{policies.Native(), false}
	c := newAgingCell(t, p)
	own := c.admit("create on=n1")
	c.run("clock 61s")
	p.fail = true
	if asked, written := c.age(); len(asked) != 1 || written != 0 {
		t.Errorf("asked about %d, wrote %d", len(asked), written)
	}
	// As admission does it: the native default decides in its place.
	id, err := state.ParseOpID(strings.Fields(c.Run("create on=n1"))[0])
	if err != nil {
		t.Fatal(err)
	}
	o := c.State.Op(id)
	if res := c.Apply(c.decider.askAgain(t.Context(), c.view(), []*state.Op{o}).command(0, o))[0]; res.Err != nil {
		t.Fatal(res.Err)
	}
	if d := c.State.Op(id).Decision; d.Fallback == "" || d.Priority <= 5 {
		t.Fatalf("decided %+v", d)
	}
	p.fail = false
	c.run("clock 61s")
	c.age()
	for _, id := range []state.OpID{own, id} {
		if d := c.State.Op(id).Decision; d.Fallback != "" || d.Priority != 5 {
			t.Errorf("operation %s: %+v", id, d)
		}
	}
}
