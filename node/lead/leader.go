// Package lead is what only the leader of a cell does: it decides about submissions, starts what may start, asks for
// what the cell itself needs, watches the nodes by their heartbeats, admits and removes them, and gives them votes.
// Nothing of it lasts: a new leader goes on by what the log says, and learns the rest from the heartbeats.
//
// Every node has a Leader. While its node does not lead, its goroutines wait for that, and its handlers refuse.
//
// Goroutines: five, all of Run. They end with its context: the admission decides batch after batch; the puncher puts
// deletes of ranges into the log, and has one more for each entry that other nodes have yet to apply; the starter looks
// at the queue at each change of the state; the planner submits what the cell needs and looks after votes; the watch
// compares what it has heard with the state at each heartbeat.
//
// Locks: the admission's guards its queue, and so does the puncher's, the watch's what it has heard, that of
// Divergences what they know. None is held while the log is asked for anything but its view, and none while another is
// taken. Who admits or removes a node holds the one token of members meanwhile, across entries of the log, and who
// pauses one that of pausing.
package lead

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/datanode/datanode/node/audit"
	"github.com/datanode/datanode/node/clock"
	"github.com/datanode/datanode/node/describe"
	"github.com/datanode/datanode/node/modules"
	"github.com/datanode/datanode/node/quota"
	"github.com/datanode/datanode/node/schedule"
	"github.com/datanode/datanode/raftlog"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

// Options are what a Leader is made of. All are needed, but where it is said. The functions may be called from any
// goroutine.
type Options struct {
	Node        state.NodeID // this node
	Addr        string       // where others dial it
	Incarnation uint64
	Secure      bool // connections have certificates, so that a node is who it says

	Log         *raftlog.Group
	Modules     *modules.Registry
	Quotas      *quota.Quotas
	Divergences *Divergences
	Audit       audit.Trail

	Settings  map[string]string // of a cell that this node founds
	Bootstrap []raftlog.Server  // its voters
	Ready     func() bool       // this node has caught up with its log; before, it plans nothing

	// Identity is who a node is by its certificate.
	Identity func(node state.NodeID) state.Identity
	// WhoIsAt asks an address who is there. Its error is that somebody accepts connections and says nothing; nobody at
	// all, or none who would be admitted here, is an empty hello.
	WhoIsAt func(ctx context.Context, addr string) (wire.Hello, error)
	// CatchUpTo waits until this node has applied the log up to an index.
	CatchUpTo func(ctx context.Context, index state.Index) error

	// Reached waits until another node has applied the log up to an index. Its error is why it has not.
	Reached func(ctx context.Context, node state.NodeID, index state.Index) error

	// Fail stops the node.
	Fail func(error)

	Clock  clock.Clock
	Times  Times
	Logger *slog.Logger
}

// Times are how long the leader waits for what.
type Times struct {
	Tick      time.Duration // between looks at the state, at most
	Heartbeat time.Duration // between heartbeats of a node
	DownAfter time.Duration // of silence a node is called down
	StepLimit time.Duration // for what is proposed
}

// Leader is what a node does while it leads. Its methods may be called from any goroutine.
type Leader struct {
	env
	o       Options
	watch   *watch
	decider *decider
	admit   *admission
	puncher *puncher
	members *members
	starter *starter
	planner *planner
	misused misuse
	zones   schedule.Zones // of the quiet windows
	pausing chan struct{}  // holds one token while somebody pauses a node
}

// New is a Leader whose log is open. Run makes it work.
func New(o Options) *Leader {
	l := &Leader{o: o, env: env{
		id: o.Node, addr: o.Addr, log: o.Log, clock: o.Clock, times: o.Times, logger: o.Logger, audit: o.Audit,
		confirmed: &confirmed{log: o.Log},
	}, pausing: make(chan struct{}, 1)}
	l.watch = newWatch(l.env)
	l.decider = &decider{log: o.Log, modules: o.Modules, quotaRefused: o.Quotas.CountRefusal}
	l.admit = newAdmission(l.env, l.decider, &l.misused, l.moment)
	l.puncher = newPuncher(l.env, &l.misused, o.Reached)
	l.members = newMembers(l.env, l.watch, o.Incarnation, o.WhoIsAt)
	l.starter = &starter{
		env: l.env, decider: l.decider, moment: l.moment, unknown: unknownZones{zones: &l.zones},
		found: founding{settings: o.Settings, bootstrap: o.Bootstrap, seed: o.Modules.Seed, fail: o.Fail},
	}
	l.planner = &planner{env: l.env, admit: l.admit, members: l.members, ready: o.Ready}
	return l
}

// Run does the leader's work until ctx ends, and returns when all of it has.
func (l *Leader) Run(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	for _, loop := range []func(context.Context){l.admit.run, l.puncher.run, l.watch.run, l.starter.run, l.planner.run} {
		wg.Add(1)
		go func() {
			defer wg.Done()
			loop(ctx)
		}()
	}
}

// Confirm makes sure that this node, which leads, has applied all that its predecessors had agreed on. Until then its
// state, and what it thinks is committed, may be older than what another node has acknowledged: it must neither refuse
// by it nor answer a node that it has caught up.
func (l *Leader) Confirm(ctx context.Context) error { return l.confirm(ctx) }

// Propose proposes commands in one entry and waits until they are carried out. The first refusal is the error. The
// outcome is unknown when leadership or ctx ends meanwhile.
func (l *Leader) Propose(ctx context.Context, cmds ...state.Command) error {
	return l.propose(ctx, cmds...)
}

// Submit waits for the results of submissions, one for each. The error is that nothing is known of some.
func (l *Leader) Submit(ctx context.Context, subs []*Submission) ([]wire.Submitted, error) {
	return l.admit.submit(ctx, subs)
}

// NoteAnswered counts an answer from memory that was refused because of its session.
func (l *Leader) NoteAnswered(res state.Result) { l.misused.count(res) }

// DryRun says what would be decided, without proposing it.
func (l *Leader) DryRun(ctx context.Context, subs []*Submission) []wire.Submitted {
	view := l.log.View()
	drafts := l.decider.draft(view, subs)
	l.decider.decide(ctx, view, drafts)
	out := make([]wire.Submitted, len(drafts))
	for i, d := range drafts {
		if d.refusal != nil {
			out[i] = refusal(d.sub, d.refusal)
			continue
		}
		out[i] = wire.Submitted{Kind: d.sub.Kind, Extent: uint64(d.admit.Extent), Plan: describe.Plan(view, d.admit)}
	}
	return out
}

// Waiting is how many submissions wait to be decided, and how many were refused since the start because too many did.
func (l *Leader) Waiting() (waiting int, turnedAway uint64) { return l.admit.tally() }

// Misused is how many submissions were refused since the start because the session was another's, or the number another
// request's.
func (l *Leader) Misused() (owner, number uint64) {
	return l.misused.owner.Load(), l.misused.number.Load()
}

// Heard takes a heartbeat of this node itself.
func (l *Leader) Heard(b *wire.Heartbeat) { l.watch.heard(b) }

// Silent reports whether a node has not been heard of for half of Times.DownAfter, where this node leads.
func (l *Leader) Silent(id state.NodeID) bool { return l.watch.silent(id) }

// Alive reports whether a heartbeat of a node has come within Times.DownAfter, where this node leads. For tests.
func (l *Leader) Alive(id state.NodeID) bool { return l.watch.alive(id) }

// Serving are the nodes that were serving clients when they were last heard of, where this node leads.
func (l *Leader) Serving() []string { return l.watch.serving() }

// Unsealed is what the nodes have reported that they hold, except some, where this node leads.
func (l *Leader) Unsealed(but ...state.NodeID) []wire.Unsealed { return l.watch.unsealed(but...) }

// HearAll waits until every other node that is up has reported anew what it holds, and that it has applied the log up
// to an index, for three heartbeats at most.
func (l *Leader) HearAll(ctx context.Context, applied state.Index) { l.watch.hearAll(ctx, applied) }

// CompiledOn are the nodes, by ID, that have reported that they could run a policy, where this node leads.
func (l *Leader) CompiledOn(digest string) []string {
	_, own := l.o.Modules.Info(digest)
	return l.watch.compiledOn(digest, own)
}

// LeaderlessSince is since when this node has known of no leader, which it is now.
func (l *Leader) LeaderlessSince() time.Time { return l.watch.leaderless.at(l.clock.Now()) }
