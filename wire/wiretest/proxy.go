// Package wiretest has a proxy that understands frames and confuses them, to be put between a
// node or client and the connections that it dials.
//
// It models confusion, not forgery: answers that come twice, late, or to another call, frames that
// are relabelled or damaged on the way. Whoever can write any frame with a right CRC under the
// names of a call in flight needs no confusion to lie; that is for TLS to prevent. So the proxy
// does not
//
//   - put another body under a header and make the CRC right,
//   - give a frame the ID of another call with the same operation and session,
//   - change what a request asks for, or how much a credit grants,
//   - leave frames out, which TCP does not do.
//
// Everything else in the list of Tamper is found by the receiver, from what the frame says alone. The
// proxy sees to that by itself: a tampered frame is followed by a ping of its own, in the same bytes. A
// receiver that answers it has taken the frame, and that is reported as accepted.
//
// A Proxy's methods may be called from any goroutine. Each connection has two goroutines, which end
// with it. Connections draw from the seed in the order of their making, which is the callers'; so a
// seed replays the mixture, not each frame.
package wiretest

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
)

// Config says how much a Proxy does. The zero value passes everything on.
type Config struct {
	Seed     uint64
	Harmless float64 // share of the frames that are delayed or reordered
	Spoiled  float64 // share of the frames that are tampered with so that the receiver must find it
}

// Proxy tampers with the connections that it wraps.
type Proxy struct {
	cfg Config
	wg  sync.WaitGroup

	mu     sync.Mutex // guards the rest
	report Report
	answer []byte // a final frame of some connection
	from   uint64 // its number
}

// Report is what a Proxy has done and seen.
type Report struct {
	Connections uint64
	Frames      uint64
	Tampered    map[Tamper]int
	// Spoiled counts the connections on which the receiver had something to find, Ended those of
	// them that have ended.
	Spoiled, Ended int
	Accepted       []string // what a receiver took that it should have refused
}

// maxAccepted bounds Report.Accepted; a few say enough.
const maxAccepted = 20

// Total is how many frames were tampered with.
func (r Report) Total() int {
	n := 0
	for _, count := range r.Tampered {
		n += count
	}
	return n
}

func (r Report) String() string {
	var all []string
	for _, t := range slices.Sorted(maps.Keys(r.Tampered)) {
		all = append(all, fmt.Sprintf("%s %d", t, r.Tampered[t]))
	}
	return fmt.Sprintf("%d of %d frames on %d connections (%s); %d connections spoiled, %d of them ended, %d accepted",
		r.Total(), r.Frames, r.Connections, strings.Join(all, ", "), r.Spoiled, r.Ended, len(r.Accepted))
}

// New makes a Proxy.
func New(cfg Config) *Proxy {
	return &Proxy{cfg: cfg, report: Report{Tampered: map[Tamper]int{}}}
}

// Wrap puts the proxy on a connection that was just dialed. A connection that does not begin as one
// of frames is passed on untouched.
func (p *Proxy) Wrap(nc net.Conn) net.Conn { return &wrapped{Conn: nc, proxy: p} }

// Wait returns when all connections have ended.
func (p *Proxy) Wait() { p.wg.Wait() }

// Report takes stock.
func (p *Proxy) Report() Report {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.report
	r.Tampered = maps.Clone(r.Tampered)
	r.Accepted = slices.Clone(r.Accepted)
	return r
}

// random is the source of one direction of a connection.
func (p *Proxy) random(connection, direction uint64) *rand.Rand {
	return rand.New(rand.NewPCG(p.cfg.Seed, connection<<1|direction))
}

func (p *Proxy) begin() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.report.Connections++
	return p.report.Connections
}

func (p *Proxy) count(f func(*Report)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f(&p.report)
}

// remember keeps a final frame for other connections.
func (p *Proxy) remember(connection uint64, answer []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answer, p.from = answer, connection
}

// elsewhere is a final frame of another connection than this one, or nil.
func (p *Proxy) elsewhere(connection uint64) []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.from == connection {
		return nil
	}
	return p.answer
}
