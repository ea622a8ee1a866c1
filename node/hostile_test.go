package node

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"flag"

	"github.com/datanode/datanode/node/transport/connlimit"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/client"
)

const (
	besideCallsShort = 30
	// besideSpan is how long the honest client takes for a call at least, on average: it would have made
	// thousands before a bomb has gone off twice.
	besideSpan  = 500 * time.Microsecond
	honestBytes = 1 << 10
	// shortConns keeps a short run, which the race detector may watch, below its limit of 8128 goroutines.
	shortConns = 3
	// connOverheadBytes is what a hostile connection may cost besides the budget: its read buffer,
	// refusals that it does not read, and goroutines.
	connOverheadBytes = 768 << 10
	// connGoroutines is how many goroutines a connection may have when it has no calls: three, and handlers
	// that wait for a call.
	connGoroutines = 3 + 64
	// callGoroutines is for calls. Each holds 8 KiB of the budget at least.
	callGoroutines = (connlimit.ClientPoolBytes + connlimit.ConnReserveBytes) / (8 << 10)
)

// beside is how many calls the honest client makes beside each bomb, and as many alone before and after.
// The number of the ordinary run is small. For the full table:
//
//	go test ./node -run TestHostile -v -beside 2000 -control
var (
	beside  = flag.Int("beside", 200, "how many calls are made beside each bomb")
	control = flag.Bool("control", false,
		"measure the calls also while the same attackers have to do with another process")
)

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

// leastGrown is by how much the live heap has grown. What others allocate and drop while it is counted looks as if it
// were live: it is counted again while it is too much, and what is held is there each time.
func leastGrown(from, bound int) int {
	least := max(liveHeap()-from, 0)
	for tries := 0; least > bound && tries < 20; tries++ {
		least = min(least, max(liveHeap()-from, 0))
	}
	return least
}

// outcome is a line of the table.
type outcome struct {
	name            string
	alone, beside   time.Duration
	control         time.Duration // 0: not measured
	opened, ended   int
	heap, heapBound int
	goroutines      int
	held, refused   int
}

func (o outcome) String() string {
	return fmt.Sprintf("%-34s %8.0f µs %8.0f µs %6.2f %7.2f %7d %7d %8.1f of %4d MiB %7.1f MiB %6d %7d",
		o.name, float64(o.alone.Nanoseconds())/1e3, float64(o.beside.Nanoseconds())/1e3,
		float64(o.beside)/float64(o.alone), float64(o.control)/float64(o.alone), o.opened, o.ended,
		float64(o.heap)/(1<<20), o.heapBound>>20, float64(o.held)/(1<<20), o.goroutines, o.refused)
}

// under sets a bomb off beside the honest client, and sees that the node keeps its limits.
func (s *siege) under(t *testing.T, n int, b *bomb) outcome {
	o := outcome{name: b.name}
	before := p99(s.latencies(t))
	conns, _ := s.node.transport.Limits().Count()
	heap, goroutines, refused := liveHeap(), runtime.NumGoroutine(), s.node.transport.Limits().Memory().Refused()

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	most := watchGoroutines(ctx)
	a := sendOut(t, order{Addr: s.node.Addr(), Net: byte(n), Bomb: b.name, Conns: b.conns, Large: s.large})
	a.awaitPlanted()
	o.beside = p99(s.latencies(t))
	if b.ends && (!testing.Short() || !b.keep) { // there are too few then to be too many
		s.c.untilTrue("the node hangs up", a.ended.Load)
	}
	o.heapBound = connlimit.ClientPoolBytes + b.conns*(connlimit.ConnReserveBytes+connOverheadBytes)
	o.heap = leastGrown(heap, o.heapBound)
	o.held = s.node.transport.Limits().Memory().Taken()
	all, half := s.node.transport.Limits().Count()
	o.opened, o.ended = a.stop()
	cancel()
	o.goroutines = most()
	o.refused = int(s.node.transport.Limits().Memory().Refused() - refused)

	if o.heap > o.heapBound {
		t.Errorf("the heap has grown by %d bytes, want %d at most", o.heap, o.heapBound)
	}
	if bound := goroutines + b.conns*connGoroutines + callGoroutines; o.goroutines > bound {
		t.Errorf("%d goroutines, want %d at most", o.goroutines, bound)
	}
	if o.held > connlimit.ClientPoolBytes || all > connlimit.MaxConns || half > connlimit.MaxHalfOpen {
		t.Errorf("%d bytes held of %d, %d connections of %d, %d half open of %d",
			o.held, connlimit.ClientPoolBytes, all, connlimit.MaxConns, half, connlimit.MaxHalfOpen)
	}
	s.c.untilTrue("the hostile connections are forgotten", func() bool {
		all, _ := s.node.transport.Limits().Count()
		return all <= conns && s.node.transport.Limits().Memory().Taken() == 0
	})
	o.alone = (before + p99(s.latencies(t))) / 2
	if *control {
		o.control = s.besideSink(t, n, b)
	}
	t.Log(o)
	return o
}

// besideSink is the honest client's p99 while the same attackers have to do with somebody else, in a process
// of its own on the same machine, who hangs up on them at once: what merely sharing the processors costs.
func (s *siege) besideSink(t *testing.T, n int, b *bomb) time.Duration {
	target := sendOut(t, order{Sink: true})
	defer target.stop()
	a := sendOut(t, order{Addr: target.hear(), Net: byte(n), Bomb: b.name, Conns: b.conns, Large: s.large})
	a.awaitPlanted()
	defer a.stop()
	return p99(s.latencies(t))
}

// Whatever peers send, the node lives and keeps its limits, and a client beside them gets the right
// answer to every call. The table says what it costs the client: that is a measurement, and nothing here
// depends on it.
func TestHostile(t *testing.T) {
	plain, secure := newSiege(t, false), newSiege(t, true)
	var table []outcome
	for n, b := range bombs() {
		s := plain
		if b.secure {
			s = secure
		}
		if testing.Short() {
			b.conns = min(b.conns, shortConns)
		}
		t.Run(strings.ReplaceAll(b.name, " ", "-"), func(t *testing.T) { table = append(table, s.under(t, n, &b)) })
	}
	t.Logf("%-34s %11s %11s %6s %7s %7s %7s %20s %11s %6s %7s", "",
		"p99 alone", "beside", "ratio", "control", "opened", "ended",
		"heap grown", "budget held", "gorout", "refused")
	for _, o := range table {
		t.Log(o)
	}
}
