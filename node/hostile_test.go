package node

import (
	"bufio"
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/client"
)

const (
	besideCallsShort = 30
	// besideSpan is how long the honest client takes for a call at least, on average: it would have made
	// thousands before a bomb has gone off twice.
	besideSpan  = 500 * time.Microsecond
	honestBytes = 1 << 10
	// redialAfter is how long it takes to replace a hostile connection that the node has ended.
	redialAfter = 100 * time.Millisecond
	// shortConns keeps a short run, which the race detector may watch, below its limit of 8128 goroutines.
	shortConns = 3
	// connOverheadBytes is what a hostile connection may cost besides the budget: its read buffer,
	// refusals that it does not read, goroutines, and what this test's own end of it takes.
	connOverheadBytes = 768 << 10
	// connGoroutines is how many goroutines a connection may have when it has no calls: three for the
	// node, as many for this test, and handlers that wait for a call.
	connGoroutines = 6 + 64
	// callGoroutines is for calls. Each holds 8 KiB of the budget at least.
	callGoroutines = (clientPoolBytes + connReserveBytes) / (8 << 10)
)

// beside is how many calls the honest client makes beside each bomb, and as many alone before and after.
// The number of the ordinary run is small. For the full table:
//
//	go test ./node -run TestHostile -v -beside 2000
var beside = flag.Int("beside", 200, "how many calls are made beside each bomb")

// siege is a node and an honest client of it, while hostile connections come and go.
type siege struct {
	c      *cell
	node   *Node
	secure bool
	honest *client.Client
	loc    wire.Locator
	want   []byte
	calls  int           // of the honest client, at least
	span   time.Duration // how long it makes them, at least
	large  wire.Locator  // what the hostile ones read
}

func newSiege(t *testing.T, secure bool) *siege {
	quiet := func(cfg *Config) { cfg.Logger = slog.New(slog.DiscardHandler) } // each hostile connection has its line
	s := &siege{secure: secure, calls: *beside, want: pattern(7, honestBytes)}
	if testing.Short() {
		s.calls = besideCallsShort
	}
	s.span = time.Duration(s.calls) * besideSpan
	if secure {
		s.c = newSecureCell(t, newOffice(t, "cell"), 1, 0, quiet)
	} else {
		s.c = newCellWith(t, 1, 0, quiet)
	}
	s.node, s.honest = s.c.nodes["n1"], s.c.client
	s.loc = s.c.put(s.want)
	s.large = s.c.put(pattern(8, appendPiece))
	return s
}

// latencies makes the honest client's calls, and sees that each has the right answer.
func (s *siege) latencies(t *testing.T) []time.Duration {
	t.Helper()
	all := make([]time.Duration, 0, s.calls)
	var got bytes.Buffer
	for begin := time.Now(); len(all) < s.calls || time.Since(begin) < s.span; {
		got.Reset()
		start := time.Now()
		if _, err := s.honest.Read(t.Context(), wire.ReadRequest{Locator: s.loc}, &got); err != nil {
			t.Fatalf("the honest client: %v", err)
		}
		all = append(all, time.Since(start))
		if !bytes.Equal(got.Bytes(), s.want) {
			t.Fatal("the honest client has read something else")
		}
	}
	slices.Sort(all)
	return all
}

func p99(sorted []time.Duration) time.Duration { return sorted[len(sorted)*99/100] }

// bomb is a way of being hostile on one connection.
type bomb struct {
	name   string
	conns  int  // at a time
	secure bool // to a node that speaks TLS
	bare   bool // before any greeting
	// blow returns when the node has hung up, or all is planted and the connection is to be kept.
	blow  func(h *hostile) error
	keep  bool // having planted, wait until the node hangs up or the siege is over
	pongs bool // the same, and answer pings
	ends  bool // the node must hang up on some
}

// hostile is one hostile connection.
type hostile struct {
	s  *siege
	nc net.Conn
	id uint64
}

// addresses are what hostile connections come from, so that the cap for each is not the only one met.
// The honest client has another.
const addresses = 8

func (s *siege) dial(ctx context.Context, n int) (net.Conn, error) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(2+n%addresses))}}
	nc, err := d.DialContext(ctx, "tcp", s.node.Addr())
	if err != nil && ctx.Err() == nil { // a system with one loopback address
		d.LocalAddr = nil
		return d.DialContext(ctx, "tcp", s.node.Addr())
	}
	return nc, err
}

func (h *hostile) write(b ...[]byte) error {
	_, err := h.nc.Write(slices.Concat(b...))
	return err
}

// drain reads until the node hangs up.
func (h *hostile) drain() { _, _ = io.Copy(io.Discard, h.nc) }

// pongs does nothing but to stay.
func (h *hostile) pongs() {
	for rd := bufio.NewReader(h.nc); ; {
		f, err := h.read(rd)
		if err != nil {
			return
		}
		if f.Kind == wire.KindPing {
			if h.pong(&f.Header) != nil {
				return
			}
		}
	}
}

func (h *hostile) pong(ping *wire.Header) error {
	return h.write(wire.AppendFrame(nil, &wire.Header{Kind: wire.KindPong, ID: ping.ID}, nil, nil))
}

func hostileHello() []byte {
	body, err := wire.Marshal(&wire.Hello{Magic: wire.Magic, MinVersion: wire.MinVersion, MaxVersion: wire.Version, MaxFrameBytes: 1 << 30,
		WindowBytes: 1 << 31, SessionWindowBytes: 1 << 31, MaxInFlight: 1 << 31})
	if err != nil {
		panic(err) // it is a constant
	}
	return wire.AppendFrame([]byte{wire.PreambleFrames}, &wire.Header{Kind: wire.KindHello}, body, nil)
}

// greet exchanges hellos.
func (h *hostile) greet() error {
	if err := h.write(hostileHello()); err != nil {
		return err
	}
	_, err := h.read(bufio.NewReaderSize(h.nc, 16)) // no more than the hello has been sent, but for a ping
	return err
}

func (h *hostile) read(rd *bufio.Reader) (wire.Frame, error) {
	head, err := rd.Peek(4)
	if err != nil {
		return wire.Frame{}, err
	}
	size, err := wire.FrameSize(head, 16<<20)
	if err != nil {
		return wire.Frame{}, err
	}
	b := make([]byte, size)
	if _, err := io.ReadFull(rd, b); err != nil {
		return wire.Frame{}, err
	}
	_, f, err := wire.ParseFrame(b)
	return f, err
}

// tally is what became of a bomb's connections.
type tally struct {
	opened, ended atomic.Int64
	planted       sync.WaitGroup
}

// attack keeps a bomb's connections going until ctx ends.
func (s *siege) attack(ctx context.Context, b *bomb) (*tally, *sync.WaitGroup) {
	var done sync.WaitGroup
	a := new(tally)
	for n := range b.conns {
		a.planted.Add(1)
		done.Go(func() {
			planted := sync.OnceFunc(a.planted.Done)
			defer planted()
			for ctx.Err() == nil {
				s.attackOnce(ctx, b, n, a, planted)
			}
		})
	}
	return a, &done
}

func (s *siege) attackOnce(ctx context.Context, b *bomb, n int, a *tally, planted func()) {
	nc, err := s.dial(ctx, n)
	if err != nil {
		return
	}
	defer nc.Close()
	defer context.AfterFunc(ctx, func() { nc.Close() })()
	a.opened.Add(1)
	h := &hostile{s: s, nc: nc}
	if !b.bare {
		err = h.greet()
	}
	if !b.keep {
		planted()
	}
	if err == nil {
		err = b.blow(h)
	}
	planted()
	switch {
	case err != nil:
	case b.pongs:
		h.pongs()
	case b.keep:
		h.drain()
	}
	if ctx.Err() != nil {
		return
	}
	a.ended.Add(1)
	select {
	case <-time.After(redialAfter): // the bomb's own pace
	case <-ctx.Done():
	}
}

// watchGoroutines is how many there were at most until ctx ended.
func watchGoroutines(ctx context.Context) (most func() int) {
	peak := make(chan int, 1)
	go func() {
		n := 0
		for {
			n = max(n, runtime.NumGoroutine())
			select {
			case <-time.After(5 * time.Millisecond):
			case <-ctx.Done():
				peak <- n
				return
			}
		}
	}()
	return func() int { return <-peak }
}

func liveHeap() int {
	runtime.GC()
	runtime.GC() // what pools kept over the first one
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc) + int(m.StackInuse)
}

// outcome is a line of the table.
type outcome struct {
	name            string
	alone, beside   time.Duration
	opened, ended   int64
	heap, heapBound int
	goroutines      int
	held, refused   int
}

func (o outcome) String() string {
	return fmt.Sprintf("%-34s %8.0f µs %8.0f µs %6.2f %7d %7d %8.1f of %4d MiB %7.1f MiB %6d %7d", o.name, float64(o.alone.Nanoseconds())/1e3,
		float64(o.beside.Nanoseconds())/1e3, float64(o.beside)/float64(o.alone), o.opened, o.ended,
		float64(o.heap)/(1<<20), o.heapBound>>20, float64(o.held)/(1<<20), o.goroutines, o.refused)
}

// under sets a bomb off beside the honest client, and sees that the node keeps its limits.
func (s *siege) under(t *testing.T, b *bomb) outcome {
	o := outcome{name: b.name}
	before := p99(s.latencies(t))
	conns, _ := s.node.listener.census.count()
	heap, goroutines, refused := liveHeap(), runtime.NumGoroutine(), s.node.listener.census.budgets.clients.Refused()

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	most := watchGoroutines(ctx)
	a, done := s.attack(ctx, b)
	a.planted.Wait()
	o.beside = p99(s.latencies(t))
	if b.ends && (!testing.Short() || !b.keep) { // there are too few then to be too many
		s.c.untilTrue("the node hangs up", func() bool { return a.ended.Load() > 0 })
	}
	o.heap = max(liveHeap()-heap, 0)
	o.held = s.node.listener.census.budgets.clients.Taken()
	all, half := s.node.listener.census.count()
	cancel()
	done.Wait()
	o.goroutines = most()
	o.opened, o.ended = a.opened.Load(), a.ended.Load()
	o.refused = int(s.node.listener.census.budgets.clients.Refused() - refused)

	o.heapBound = clientPoolBytes + b.conns*(connReserveBytes+connOverheadBytes)
	if o.heap > o.heapBound {
		t.Errorf("the heap has grown by %d bytes, want %d at most", o.heap, o.heapBound)
	}
	if bound := goroutines + b.conns*connGoroutines + callGoroutines; o.goroutines > bound {
		t.Errorf("%d goroutines, want %d at most", o.goroutines, bound)
	}
	if o.held > clientPoolBytes || all > maxConns || half > maxHalfOpen {
		t.Errorf("%d bytes held of %d, %d connections of %d, %d half open of %d", o.held, clientPoolBytes, all, maxConns, half, maxHalfOpen)
	}
	s.c.untilTrue("the hostile connections are forgotten", func() bool {
		all, _ := s.node.listener.census.count()
		return all <= conns && s.node.listener.census.budgets.clients.Taken() == 0
	})
	o.alone = (before + p99(s.latencies(t))) / 2
	t.Log(o)
	return o
}

// Whatever peers send, the node lives and keeps its limits, and a client beside them gets the right
// answer to every call. The table says what it costs the client: that is a measurement, and nothing here
// depends on it.
func TestHostile(t *testing.T) {
	plain, secure := newSiege(t, false), newSiege(t, true)
	var table []outcome
	for _, b := range bombs() {
		s := plain
		if b.secure {
			s = secure
		}
		if testing.Short() {
			b.conns = min(b.conns, shortConns)
		}
		t.Run(strings.ReplaceAll(b.name, " ", "-"), func(t *testing.T) { table = append(table, s.under(t, &b)) })
	}
	t.Logf("%-34s %11s %11s %6s %7s %7s %20s %11s %6s %7s", "", "p99 alone", "beside", "ratio", "opened", "ended", "heap grown", "budget held", "gorout", "refused")
	for _, o := range table {
		t.Log(o)
	}
}
