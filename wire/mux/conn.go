package mux

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/datanode/datanode/wire"
)

const (
	readBufferBytes = 32 << 10
	// rawRoom is left to the body of a frame with as many raw bytes as fit.
	rawRoom = 4 << 10
	// maxFirstID bounds the random number that correlation IDs start at. They do not all start at 1, so
	// that an answer that was meant for another connection fits no call here. Few bits cost few bytes in
	// each header.
	maxFirstID = 1 << 31
)

// ErrClosed is why a connection ended that was closed on this side.
var ErrClosed = errors.New("closed by this side")

// Conn multiplexes calls on one connection. Its methods may be called from any goroutine.
type Conn struct {
	nc     net.Conn
	cfg    Config
	dialed bool // this side starts the calls
	peer   wire.Hello
	agreed wire.Agreed
	since  time.Time
	limits limits

	rd   *bufio.Reader // reader goroutine
	ears *hearing      // what rd reads from
	done chan struct{} // closed once err is set
	wg   sync.WaitGroup
	work chan *ServerCall // to idle handler goroutines

	// freeCalls has *call of ended unary calls, put back by the goroutine that took the token. It is
	// not shared between connections, since a channel stays within one synctest bubble.
	freeCalls    sync.Pool
	idleHandlers atomic.Int32
	counts       counts
	account      account // of Config.Share
	patience     patience
	undecodable  atomic.Int32 // requests whose body was not what it should be

	mu           sync.Mutex
	wake         sync.Cond // the writer: something to send, or the end
	err          error     // why the connection ended. Invariant: nil until then, then never changes
	queue        sendQueue
	writing      bool        // somebody writes the frames in writer, and owns it
	writer       batchWriter // else guarded by mu
	sessions     [sessionSlots]session
	yielding     int  // chunks for which repair still yields to the other sessions
	draining     bool // this side takes no new calls
	peerDraining bool
	idle         chan struct{} // closed when drained; made by Drain
	ping         pinger
	silence      silence

	// Dialing side.
	calls    map[uint64]*call // sent, final frame not yet here
	unsent   int              // calls in the queue
	beforeID uint64           // the first correlation ID is the next; never changes
	lastID   uint64           // the highest correlation ID sent or, accepting, received

	// Accepting side.
	served       map[uint64]*ServerCall // handler not yet returned
	finished     [finishedSlots]callName
	open         int // calls whose final frame is not yet taken by the writer
	responses    int // queued, ever
	handlers     int // handlers running
	requestBytes int // bytes of requests held
	rejects      int // refusals queued
}

// limits are derived from both hellos.
type limits struct {
	calls      int  // in flight at once
	chunkBytes int  // in one chunk sent
	frameBytes int  // in one frame sent
	offsets    bool // chunks say where they begin
}

// Client starts a Conn on a connection that this side has dialed. It writes the preamble and exchanges
// hellos within ctx. It owns nc from here on, and closes it when it fails.
func Client(ctx context.Context, nc net.Conn, cfg Config) (*Conn, error) {
	return start(ctx, nc, cfg, true)
}

// Server starts a Conn on an accepted connection whose preamble byte the listener has consumed (with
// TLS there is one too). It owns nc from here on, and closes it when it fails.
func Server(ctx context.Context, nc net.Conn, cfg Config) (*Conn, error) {
	return start(ctx, nc, cfg, false)
}

func start(ctx context.Context, nc net.Conn, cfg Config, dialed bool) (*Conn, error) {
	cfg = cfg.withDefaults()
	c := &Conn{
		nc: nc, cfg: cfg, dialed: dialed, since: cfg.Clock.Now(),
		ears:  &hearing{Conn: nc},
		done:  make(chan struct{}),
		work:  make(chan *ServerCall),
		calls: make(map[uint64]*call), served: make(map[uint64]*ServerCall),
		account: account{share: cfg.Share},
	}
	c.rd = bufio.NewReaderSize(c.ears, readBufferBytes)
	c.patience.start(c.since)
	if dialed {
		c.lastID = rand.Uint64N(maxFirstID)
		c.beforeID = c.lastID
	}
	c.wake.L = &c.mu
	if err := c.greet(ctx); err != nil {
		_ = nc.Close() // the greeting's error says more
		return nil, err
	}
	c.settle()
	c.wg.Add(2)
	go c.readLoop()
	go c.writeLoop()
	c.startPings()
	c.startListening()
	return c, nil
}

// settle derives limits, the time between pings and first credit from the hellos.
func (c *Conn) settle() {
	window := int(min(c.peer.WindowBytes, c.peer.SessionWindowBytes))
	c.limits = limits{
		calls:      min(c.cfg.MaxInFlight, int(c.peer.MaxInFlight)),
		frameBytes: c.agreed.MaxFrameBytes,
		offsets:    c.agreed.Features&wire.FeatureChunkOffset != 0,
		chunkBytes: min(wire.MaxChunkBytes, c.agreed.MaxFrameBytes-wire.FrameOverhead, window/2-wire.ChunkCost),
	}
	if c.betweenNodes() {
		c.cfg.PingEvery = min(c.cfg.PingEvery, c.cfg.Silence/pingsWithinSilence)
	}
	for i := range c.sessions {
		c.sessions[i].credit = int(c.peer.SessionWindowBytes)
	}
}

// Peer is what the other side said of itself.
func (c *Conn) Peer() wire.Hello { return c.peer }

// Has reports whether both sides have all of these features.
func (c *Conn) Has(f wire.Features) bool { return c.agreed.Features&f == f }

// MaxRaw is how many raw bytes a frame may have either way, beside a body of rawRoom bytes.
func (c *Conn) MaxRaw() int { return c.limits.frameBytes - wire.FrameOverhead - rawRoom }

// Done is closed when the connection can no longer be used.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Err says why the connection ended; nil while it has not.
func (c *Conn) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Close ends the connection and its calls at once, and returns when all its goroutines have, handlers
// included; so a handler may not call it. To let calls finish, Drain first.
func (c *Conn) Close() error {
	c.fail(ErrClosed)
	c.wg.Wait()
	return nil
}

// fail ends the connection: nothing more is read, written or started, and every call fails. Only
// the first cause counts.
func (c *Conn) fail(cause error) {
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return
	}
	c.err = cause
	c.failCallsLocked(cause)
	c.cancelServedLocked(cause)
	c.ping.stopLocked()
	c.silence.stopLocked()
	if c.idle != nil {
		close(c.idle)
		c.idle = nil
	}
	c.wake.Broadcast()
	close(c.done)
	c.mu.Unlock()
	_ = c.nc.Close() // nobody can use it any more, whatever it says
}

func (c *Conn) failCallsLocked(cause error) {
	for s := range c.queue.bySession {
		fifo := &c.queue.bySession[s]
		for i := fifo.head; i < len(fifo.items); i++ {
			if f := &fifo.items[i]; f.call != nil {
				c.unsent--
				f.call.endLocked(Reply{}, connError(f.call.op, wire.NotDone, c.peer.Node, cause))
			}
		}
	}
	for id, cl := range c.calls {
		delete(c.calls, id)
		cl.endLocked(Reply{}, connError(cl.op, wire.Unknown, c.peer.Node, cause))
	}
}

// Drain announces that this side takes no new calls, and returns when those in flight have ended and
// everything has been written, or with an error when ctx ends or the connection breaks first. It does
// not close the connection.
func (c *Conn) Drain(ctx context.Context) error {
	c.mu.Lock()
	if c.err != nil {
		defer c.mu.Unlock()
		return connError(0, wire.NotDone, c.peer.Node, c.err)
	}
	if !c.draining {
		c.draining = true
		c.pushControlLocked(outFrame{hdr: wire.Header{Kind: wire.KindGoAway}})
	}
	if c.idle == nil {
		c.idle = make(chan struct{})
	}
	idle := c.idle
	c.checkIdleLocked()
	c.mu.Unlock()
	select {
	case <-idle:
	case <-ctx.Done():
		return fmt.Errorf("drain connection with %q: %w", c.peer.Node, ctx.Err())
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return connError(0, wire.Unknown, c.peer.Node, c.err)
	}
	return nil
}

// checkIdleLocked wakes Drain when nothing is left to do. It is called after each batch, and
// so after the goaway; endings that write nothing call it too.
func (c *Conn) checkIdleLocked() {
	if c.idle == nil || c.writing || c.queue.length > 0 || len(c.calls) > 0 || len(c.served) > 0 {
		return
	}
	close(c.idle)
	c.idle = nil
}

// pushLocked queues a frame of a call.
func (c *Conn) pushLocked(f outFrame) {
	c.queue.push(f)
	c.wake.Signal()
}

func (c *Conn) pushControlLocked(f outFrame) {
	c.queue.pushControl(f)
	c.wake.Signal()
}

// counts are for Stats.
type counts struct {
	bytesIn, bytesOut, framesIn, framesOut, stalls, mismatches atomic.Uint64
}
