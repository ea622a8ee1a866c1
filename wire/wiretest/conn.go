package wiretest

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"github.com/datanode/datanode/wire"
)

const (
	// longestDelay is how long a frame is held up, or waits for others to overtake it.
	longestDelay = 2 * time.Millisecond
	// maxTruncatedBytes is how much at most is missing of a truncated frame.
	maxTruncatedBytes = 200
	// probes is the number of the proxy's first ping; no node counts its own as far.
	probes = 1 << 62
	// farID is added for an ID that no call has, those among them that the proxy has yet to see start.
	farID = 1 << 40
	// maxFrameBytes is the largest frame passed on.
	maxFrameBytes = 8 << 20
)

func putLength(b []byte, n int) { binary.LittleEndian.PutUint32(b, uint32(n)) }

// wrapped is what the dialing side gets. Its first write says what the connection is for.
type wrapped struct {
	net.Conn
	proxy *Proxy

	mu     sync.Mutex
	begun  bool     // guarded by mu
	closed bool     // guarded by mu
	inner  net.Conn // guarded by mu; the pipe to the proxy's goroutines; nil: passed on untouched
}

// through is what bytes go through, which the first of those that are written say.
func (w *wrapped) through(first []byte) net.Conn {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.begun && len(first) > 0 {
		w.begun = true
		if first[0] == wire.PreambleFrames && !w.closed {
			w.inner = w.proxy.connect(w.Conn)
		}
	}
	if w.inner != nil {
		return w.inner
	}
	return w.Conn
}

func (w *wrapped) Write(b []byte) (int, error) { return w.through(b).Write(b) }

func (w *wrapped) Read(b []byte) (int, error) { return w.through(nil).Read(b) }

func (w *wrapped) Close() error {
	w.mu.Lock()
	w.closed = true
	inner := w.inner
	w.mu.Unlock()
	if inner != nil {
		_ = inner.Close() // a pipe's only ever says nil
	}
	return w.Conn.Close()
}

// connection is one that goes through the proxy: near is the dialing side, far the accepting one.
type connection struct {
	proxy     *Proxy
	number    uint64
	near, far net.Conn
	closeOnce sync.Once

	mu      sync.Mutex
	calls   calls  // guarded by mu
	spoiled bool   // guarded by mu; one of the two sides has something to find
	by      Tamper // guarded by mu; how
	what    wire.Header
	up      bool // guarded by mu; which way it went
}

// calls is what the proxy knows about the calls of a connection.
type calls struct {
	open    map[uint64]call
	highest uint64
	answer  []byte // a final frame that was passed on
}

type call struct {
	op      wire.OpType
	session wire.Session
}

// frame is a frame and its bytes.
type frame struct {
	wire.Frame
	bytes []byte
}

func (f *frame) ends() bool { return f.Kind == wire.KindResponse || f.Kind == wire.KindError }

// connect starts the proxy on a connection, and is the dialing side's end of it.
func (p *Proxy) connect(far net.Conn) net.Conn {
	outer, near := net.Pipe()
	c := &connection{proxy: p, number: p.begin(), near: near, far: far,
		calls: calls{open: map[uint64]call{}}}
	p.wg.Add(2)
	go c.pump(true)
	go c.pump(false)
	return outer
}

// close ends both sides: bytes that were lost on one are never made up for.
func (c *connection) close() {
	c.closeOnce.Do(func() {
		_ = c.near.Close() // whoever waits for it finds out
		_ = c.far.Close()
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.spoiled {
			c.proxy.count(func(r *Report) { r.Ended++ })
		}
	})
}

// pump passes one direction on until it ends. up is from the dialing side.
func (c *connection) pump(up bool) {
	defer c.proxy.wg.Done()
	defer c.close()
	from, to, direction := c.near, c.far, uint64(1)
	if !up {
		from, to, direction = c.far, c.near, 0
	}
	l := lane{c: c, up: up, to: to, r: c.proxy.random(c.number, direction)}
	defer l.stop()
	rd := bufio.NewReaderSize(from, 64<<10)
	if up {
		preamble, err := rd.ReadByte()
		if err != nil {
			return
		}
		if l.write([]byte{preamble}) != nil {
			return
		}
	}
	for hello := true; ; hello = false {
		f, err := readFrame(rd)
		if err != nil {
			return
		}
		if hello {
			err = l.write(f.bytes)
		} else {
			err = l.pass(f)
		}
		if err != nil {
			return
		}
	}
}

func readFrame(rd *bufio.Reader) (*frame, error) {
	head, err := rd.Peek(4)
	if err != nil {
		return nil, err
	}
	size, err := wire.FrameSize(head, maxFrameBytes)
	if err != nil {
		return nil, err
	}
	f := &frame{bytes: make([]byte, size)}
	if _, err := io.ReadFull(rd, f.bytes); err != nil {
		return nil, err
	}
	_, f.Frame, err = wire.ParseFrame(f.bytes)
	return f, err
}

// lane is one direction. Its pump owns it, but for what is being held.
type lane struct {
	c  *connection
	up bool
	r  *rand.Rand

	mu    sync.Mutex // guards the rest, and is held while writing
	to    net.Conn
	held  *frame // waits to be overtaken
	timer *time.Timer
}

func (l *lane) write(b []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, err := l.to.Write(b)
	return err
}

// pass passes a frame on, one way or another.
func (l *lane) pass(f *frame) error {
	if f.Kind == wire.KindPong && f.ID >= probes {
		l.c.probeAnswered()
		return nil
	}
	elsewhere := l.c.proxy.elsewhere(l.c.number)
	t, out := l.c.decide(l.r, l.up, f, elsewhere)
	switch {
	case out != nil:
		return l.spoil(t, out)
	case t == Delay:
		time.Sleep(time.Duration(l.r.Int64N(int64(longestDelay))))
	case t == Reorder:
		return l.hold(f)
	}
	return l.forward(f)
}

// decide notes the frame and chooses what to do with it; bytes are to be sent in its place.
func (c *connection) decide(r *rand.Rand, up bool, f *frame, elsewhere []byte) (t Tamper, out []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	cfg := &c.proxy.cfg
	if draw := r.Float64(); !c.spoiled && draw < cfg.Spoiled {
		if t, out = c.calls.spoil(r, up, f, elsewhere); out != nil {
			c.spoiled, c.by, c.what, c.up = true, t, f.Header, up
		}
	} else if draw >= cfg.Spoiled && draw < cfg.Spoiled+cfg.Harmless {
		t = Delay
		if !c.spoiled && f.ID != 0 && f.Kind != wire.KindRequest && f.matched(up) && r.IntN(2) == 0 {
			t = Reorder
		}
	}
	answer := c.calls.note(f)
	if answer != nil {
		c.proxy.remember(c.number, answer)
	}
	c.proxy.count(func(r *Report) {
		r.Frames++
		if t != 0 {
			r.Tampered[t]++
		}
		if out != nil {
			r.Spoiled++
		}
	})
	return t, out
}

// note learns from a frame; it returns a final one.
func (c *calls) note(f *frame) (answer []byte) {
	switch f.Kind {
	case wire.KindRequest:
		c.open[f.ID] = call{f.Op, f.Session}
		c.highest = max(c.highest, f.ID)
	case wire.KindResponse, wire.KindError:
		delete(c.open, f.ID)
		c.answer = f.bytes
		return f.bytes
	}
	return nil
}

// spoil sends the bytes that the receiver must refuse, and pings that it must not answer.
func (l *lane) spoil(t Tamper, out []byte) error {
	if err := l.release(); err != nil {
		return err
	}
	if t == Cut {
		_ = l.write(out) // nothing follows, written or not
		return io.ErrUnexpectedEOF
	}
	for n := 0; n <= maxTruncatedBytes; {
		before := len(out)
		out = wire.AppendFrame(out, &wire.Header{Kind: wire.KindPing, ID: probes}, nil, nil)
		n += len(out) - before
	}
	return l.write(out)
}

// probeAnswered says that a receiver has gone on after what it should have found.
func (c *connection) probeAnswered() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.proxy.count(func(r *Report) {
		if len(r.Accepted) < maxAccepted {
			r.Accepted = append(r.Accepted, fmt.Sprintf("%s of %s, up: %t", c.by, c.what, c.up))
		}
	})
}

// hold keeps a frame back until another call's has passed, or for a moment.
func (l *lane) hold(f *frame) error {
	if err := l.release(); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held = f
	l.timer = time.AfterFunc(longestDelay, func() { _ = l.release() }) // a failure shows at the next write
	return nil
}

// forward writes a frame, before the one held if that is of another call, else after it.
func (l *lane) forward(f *frame) error {
	l.mu.Lock()
	held := l.held
	l.mu.Unlock()
	if held != nil && held.ID == f.ID {
		if err := l.release(); err != nil {
			return err
		}
	}
	if err := l.write(f.bytes); err != nil {
		return err
	}
	return l.release()
}

// release writes what is held.
func (l *lane) release() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.held == nil {
		return nil
	}
	l.timer.Stop()
	f := l.held
	l.held = nil
	_, err := l.to.Write(f.bytes)
	return err
}

func (l *lane) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held = nil
	if l.timer != nil {
		l.timer.Stop()
	}
}
