package client

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// quietFor is how long a call goes unanswered before Options.Waiting hears of it, and then again and again.
const quietFor = 2 * time.Second

// waiting says what one call waits for, while it does. Its methods may be called on nil, which says nothing.
type waiting struct {
	op    wire.OpType
	say   func(string)
	clock mux.Clock
	began time.Time

	mu    sync.Mutex
	at    string      // Guarded by mu. The address that is asked; empty between two attempts.
	last  string      // Guarded by mu. How the newest attempt failed.
	said  bool        // Guarded by mu.
	ended bool        // Guarded by mu.
	stop  func() bool // Guarded by mu.
}

// wait begins to watch over a call, if somebody wants to hear. A wait for operations is not meant to be
// answered soon, and whoever waits shows how they go on.
func (c *Client) wait(op wire.OpType) *waiting {
	if c.opts.Waiting == nil || op == wire.OpWait {
		return nil
	}
	w := &waiting{op: op, say: c.opts.Waiting, clock: c.opts.Clock, began: c.opts.Clock.Now()}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stop = w.clock.AfterFunc(quietFor, w.tell)
	return w
}

// asks notes which address is asked now.
func (w *waiting) asks(addr string) {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.at = addr
}

// failed notes how the attempt at an address ended.
func (w *waiting) failed(addr string, err error) {
	if w == nil {
		return
	}
	text := err.Error()
	if e := (*wire.Error)(nil); !errors.As(err, new(*notConnected)) && errors.As(err, &e) {
		text = e.Detail
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.at, w.last = "", addr+": "+text
}

// end is called once, when the call has ended. Nothing is said after it but that it is over, if anything was.
func (w *waiting) end() {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ended = true
	w.stop()
	if w.said {
		w.say("")
	}
}

// tell says what is waited for now.
func (w *waiting) tell() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended {
		return
	}
	w.said = true
	w.say(w.textLocked(w.clock.Now().Sub(w.began).Round(time.Second)))
	w.stop = w.clock.AfterFunc(quietFor, w.tell)
}

func (w *waiting) textLocked(gone time.Duration) string {
	text := fmt.Sprintf("%s: waiting since %v", w.op, gone)
	if w.at != "" {
		text += ", " + w.at + " has not answered yet"
	}
	if w.last != "" {
		text += "; " + w.last
	}
	return text
}
