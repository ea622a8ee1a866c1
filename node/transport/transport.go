package transport

import (
	"context"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/datanode/datanode/node/transport/connlimit"
	"github.com/datanode/datanode/pki"
	"github.com/datanode/datanode/raftlog"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// maxCallsPerConn bounds the calls in flight on an accepted connection. When it ends they all do, and no other
// connection's calls should have to wait for so many to notice.
const maxCallsPerConn = 1024

// relayedPoolBytes bounds the answers of other nodes that are passed on and nobody has taken yet, and relayedWindow how
// much of them one session of one node's connection holds.
const (
	relayedPoolBytes = 256 << 20
	relayedWindow    = 64 << 20
)

// Options say what a transport listens on, who it is, and what it asks the rest of the node. Only Listener is needed.
//
// The functions may be called from any goroutine, and before the node's log is open: raft dials while it is being
// opened. They answer from memory.
type Options struct {
	Listener net.Listener // closed by Stop
	Source   *pki.Source  // this node's certificate; nil: plaintext
	Dial     Dialer       // nil: DialTCP
	Clock    mux.Clock    // zero: the real one
	Logger   *slog.Logger // nil: none

	FirstByte time.Duration // from accept until it is known who is there and what follows
	DialLimit time.Duration // from the dial of a connection for calls until hellos are exchanged
	Silence   time.Duration // on a connection for calls, after which it counts as broken; see mux.Config

	// Hello is what this node says of itself, as it is now.
	Hello func() Hello
	// Blank reports that this node's log is empty. If the folder was emptied, the node may have voted and
	// acknowledged entries that it no longer knows: it must neither vote nor follow in a cell that exists before that
	// cell has admitted it.
	Blank func() bool
	// Members are those of the log's group, as this node's log has them. An error says that they are not known yet.
	Members func() ([]raftlog.ServerInfo, error)
	// Serve serves one call of an accepted connection, in a goroutine of the call's own. ctx ends with the connection.
	Serve func(ctx context.Context, c *mux.ServerCall, who Caller)

	// IsNode reports whether the cell has a node of this ID, in the group or not; nil: none.
	IsNode func(id string) bool
	// Proven reports whether the node at an address is known to be of a build that reads streams in records; nil: none.
	Proven func(addr string) bool
	// Refuse says why a node's raft streams are not taken although it is a member; nil: all are.
	Refuse func(node string) error
	// Known are addresses of nodes that this one was started with. There is room for connections from them, as from
	// those of the members.
	Known []string
	// ClientMemory is how many bytes clients may make this node hold, see connlimit; 0: connlimit.ClientPoolBytes.
	ClientMemory int
	// Calls are those that are served: denials are counted for each.
	Calls []wire.OpType
}

func (o Options) withDefaults() Options {
	if o.Dial == nil {
		o.Dial = DialTCP
	}
	if o.Clock.Now == nil {
		o.Clock.Now = time.Now
	}
	if o.Clock.AfterFunc == nil {
		o.Clock.AfterFunc = func(d time.Duration, f func()) func() bool { return time.AfterFunc(d, f).Stop }
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Hello == nil {
		o.Hello = func() Hello { return Hello{} }
	}
	if o.Blank == nil {
		o.Blank = func() bool { return false }
	}
	if o.Members == nil {
		o.Members = func() ([]raftlog.ServerInfo, error) { return nil, nil }
	}
	if o.IsNode == nil {
		o.IsNode = func(string) bool { return false }
	}
	if o.Proven == nil {
		o.Proven = func(string) bool { return false }
	}
	if o.Refuse == nil {
		o.Refuse = func(string) error { return nil }
	}
	return o
}

// after is closed when d has gone by.
func (o *Options) after(d time.Duration) <-chan struct{} {
	done := make(chan struct{})
	o.Clock.AfterFunc(d, func() { close(done) })
	return done
}

// Transport is all connections of one node. Its methods may be called from any goroutine.
type Transport struct {
	o   Options
	ctx context.Context // ends with Stop, if not before; handed to handshakes, dials and calls
	end context.CancelFunc

	listener *listener
	peers    *peers
	secure   *security // nil: plaintext
	limits   *connlimit.Limits
	table    *ConnTable
	accepted *accepted
	denied   *Denials
	// mismatches are frames that matched no call, over all connections; the keys never change.
	mismatches map[mux.MismatchKind]*atomic.Uint64
	relayed    *mux.Budget // of answers of other nodes that are passed on

	wg sync.WaitGroup // judgeCerts, and connections that it ends
}

// New makes the transport of a node whose calls, handshakes and dials end with ctx. It neither accepts nor dials before
// Run, except what is asked of it.
func New(ctx context.Context, o Options) *Transport {
	o = o.withDefaults()
	ctx, end := context.WithCancel(ctx)
	t := &Transport{
		o: o, ctx: ctx, end: end, secure: newSecurity(ctx, &o), accepted: newAccepted(),
		table: newConnTable(o.IsNode), denied: newDenials(o.Calls, o.Clock.Now, o.Logger),
		mismatches: map[mux.MismatchKind]*atomic.Uint64{},
		relayed:    mux.NewBudget(relayedPoolBytes, connlimit.ConnReserveBytes),
	}
	for _, kind := range mux.MismatchKinds() {
		t.mismatches[kind] = new(atomic.Uint64)
	}
	where := &addresses{members: o.Members, known: o.Known}
	mayBeNode := where.onMachine
	if t.secure != nil {
		mayBeNode = func(string) bool { return true } // a certificate proves it before anything else
	}
	t.limits = connlimit.New(connlimit.Options{MayBeNode: mayBeNode, Now: o.Clock.Now, Logger: o.Logger,
		ClientBytes: o.ClientMemory})
	t.listener = newListener(&o, t.secure, t.limits, t.table, t.denied, where, t.serveConn)
	t.peers = newPeers(ctx, &o, t.secure, t.table, t.peerConfig)
	return t
}

// Run starts the goroutines that accept connections, and end those whose peers are not to have them any more. They end
// with Stop.
func (t *Transport) Run() {
	t.listener.run()
	if t.secure != nil {
		t.wg.Go(t.judgeCerts)
	}
}

// Streams are the raft streams: the listener as the log sees it. Closing it closes what was accepted, frames as well.
func (t *Transport) Streams() raftlog.StreamLayer { return t.listener }

// Drain lets the calls of every accepted connection end.
func (t *Transport) Drain(ctx context.Context) error { return t.accepted.drain(ctx) }

// HangUp breaks all accepted connections, without a word.
func (t *Transport) HangUp() {
	t.listener.Close()
	t.accepted.close()
}

// Stop stops accepting, and ends all connections for calls: first those to others, since handlers may wait for one for
// longer than anybody would wait for them.
func (t *Transport) Stop() {
	t.end()
	t.listener.Close()
	t.peers.close()
	t.accepted.close()
}

// Wait waits for all goroutines, after Stop.
func (t *Transport) Wait() {
	t.listener.wait()
	t.wg.Wait()
}

// Conn is a working connection for calls to the node at addr, dialed if there is none. An empty node is not checked.
// Its error is a *wire.Error, and says that nothing was sent.
func (t *Transport) Conn(ctx context.Context, node, addr string) (*mux.Conn, error) {
	return t.peers.conn(ctx, node, addr)
}

// WhoIsAt asks an address who is there, on a connection of its own. Its error is that somebody accepts connections and
// says nothing; nobody at all, or none who would be admitted here, is an empty hello.
func (t *Transport) WhoIsAt(ctx context.Context, addr string) (wire.Hello, error) {
	return t.peers.whoIsAt(ctx, addr)
}

// Source is this node's certificate, nil in plaintext.
func (t *Transport) Source() *pki.Source {
	if t.secure == nil {
		return nil
	}
	return t.secure.source
}

// Vouch notes who is in the group by the cell's own word. See security.vouch.
func (t *Transport) Vouch(members []string) { t.secure.vouch(members) }

// Table is the table of open connections.
func (t *Transport) Table() *ConnTable { return t.table }

// Limits are those of the accepted connections.
func (t *Transport) Limits() *connlimit.Limits { return t.limits }

// Denied counts what was refused because its caller may not do it.
func (t *Transport) Denied() *Denials { return t.denied }

// Mismatches are the frames that matched no call in flight, over all connections since the start, by what did not
// match. Each has closed its connection.
func (t *Transport) Mismatches() map[mux.MismatchKind]uint64 {
	counts := make(map[mux.MismatchKind]uint64, len(t.mismatches))
	for kind, n := range t.mismatches {
		counts[kind] = n.Load()
	}
	return counts
}

// DamagedStreams is how many raft streams have ended because of damage on their way, since the start.
func (t *Transport) DamagedStreams() uint64 { return t.listener.damaged.Load() }

// RejectedCerts counts the certificates that were good once and are not any more; all zero in plaintext.
func (t *Transport) RejectedCerts() map[RejectedCert]uint64 { return t.secure.rejectedCerts() }

// JudgeStream says why a raft stream is not taken that begins with a hello, nil when it is. For tests.
func (t *Transport) JudgeStream(theirs Hello, who Caller) error {
	return t.listener.judgeStream(theirs, who)
}

func (t *Transport) countMismatch(m mux.Mismatch) { t.mismatches[m.Kind].Add(1) }

func (t *Transport) peerConfig() mux.Config {
	return mux.Config{
		Hello: t.o.Hello().frames(), Logger: t.o.Logger, Clock: t.o.Clock, OnMismatch: t.countMismatch, Silence: t.o.Silence,
		// Answers that are passed on wait for those who asked. With the usual window, eight slow readers would
		// use up the session of all others; with this one memory is what bounds them.
		SessionWindowBytes: relayedWindow, Share: t.relayed.NewShare(),
	}
}
