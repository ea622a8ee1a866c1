package mux

import "github.com/datanode/datanode/wire"

// sessionSlots is one more than the highest session, so that sessions index arrays.
const sessionSlots = int(wire.SessionControl) + 1

// outFrame is a frame waiting to be written.
type outFrame struct {
	hdr     wire.Header
	buf     *buffer // body, then raw bytes if they are few; nil: none
	bodyLen int
	raw     []byte        // borrowed from the caller until written has a token
	more    [][]byte      // follows raw, borrowed likewise
	moreLen int           // bytes of more
	rawSum  uint32        // of all raw bytes, in buf or borrowed
	summed  bool          // rawSum is known
	written chan struct{} // nil when raw is not borrowed; has room for the token
	half    *half         // the call of a request or chunk: has the correlation ID once that is given
	call    *call         // the call that this frame, a request, starts
	// onBehalf is who that call is made for, where the frame says so
	onBehalf string
	served   *ServerCall // the call that this frame ends
	reject   bool        // refuses a request that was never served
}

// size is about how many bytes the frame takes on the wire.
func (f *outFrame) size() int {
	n := wire.FrameOverhead + len(f.raw) + f.moreLen
	if f.buf != nil {
		n += len(f.buf.b)
	}
	return n
}

// drop gives back what the frame holds, written or not.
func (f *outFrame) drop() {
	f.buf.free()
	f.buf = nil
	if f.written != nil {
		f.written <- struct{}{}
		f.written = nil
	}
}

// take is drop for a frame that was never queued: nobody waits for its token.
func (f *outFrame) take() {
	f.written = nil
	f.drop()
}

// sendQueue decides which frame goes next: control frames (credit, cancel, ping, pong, goaway), then
// one frame from each session in turn. Its owner bounds what goes in: chunks by credit, requests and
// final frames by the calls in flight, refusals by maxRejects, credits by what they answer.
type sendQueue struct {
	control   fifo
	bySession [sessionSlots]fifo
	turn      int // the session served last
	length    int
}

func (q *sendQueue) pushControl(f outFrame) {
	q.control.push(f)
	q.length++
}

func (q *sendQueue) push(f outFrame) {
	q.bySession[f.hdr.Session].push(f)
	q.length++
}

func (q *sendQueue) pop() (f outFrame, ok bool) {
	if q.length == 0 {
		return outFrame{}, false
	}
	q.length--
	if q.control.len() > 0 {
		return q.control.pop(), true
	}
	for {
		q.turn = (q.turn + 1) % sessionSlots
		if fifo := &q.bySession[q.turn]; fifo.len() > 0 {
			return fifo.pop(), true
		}
	}
}

// remove takes out the frames of session s for which match is true, and calls each. It is for the
// rare cancelled call; the queue is short.
func (q *sendQueue) remove(s wire.Session, match func(*outFrame) bool, each func(*outFrame)) {
	fifo := &q.bySession[s]
	kept := fifo.items[:fifo.head]
	for i := fifo.head; i < len(fifo.items); i++ {
		f := &fifo.items[i]
		if match(f) {
			each(f)
			q.length--
			continue
		}
		kept = append(kept, *f)
	}
	clear(fifo.items[len(kept):])
	fifo.items = kept
}

// fifo is a queue in a slice that is reused.
type fifo struct {
	items []outFrame
	head  int
}

func (q *fifo) len() int { return len(q.items) - q.head }

func (q *fifo) push(f outFrame) {
	if q.head == len(q.items) {
		q.items, q.head = q.items[:0], 0
	} else if len(q.items) == cap(q.items) && q.head > len(q.items)/2 {
		n := copy(q.items, q.items[q.head:])
		clear(q.items[n:])
		q.items, q.head = q.items[:n], 0
	}
	q.items = append(q.items, f)
}

func (q *fifo) pop() outFrame {
	f := q.items[q.head]
	q.items[q.head] = outFrame{}
	q.head++
	return f
}

// maxControlFrames bounds the control frames that wait for a peer to read: twice the credits for all that
// it may send, cancels for all calls, and a few besides. It cannot send more without having read some.
func (c *Conn) maxControlFrames() int {
	windows := c.cfg.SessionWindowBytes/c.cfg.WindowBytes + 1
	return 2*grantParts*windows*sessionSlots + c.cfg.MaxInFlight + sessionSlots
}
