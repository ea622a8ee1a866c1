package web

import (
	"container/list"
	"crypto/tls"
	"net"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/datanode/datanode/node/transport/connlimit"
)

const (
	// maxConns bounds the connections of HTTP, and maxConnsPerAddr those from one machine. One more closes the
	// one that has been without a request for longest: those who ask nothing must not keep out those who look whether
	// the node lives.
	maxConns        = 64
	maxConnsPerAddr = 16
)

// refusal is why HTTP was refused. The values are labels of a metric.
type refusal string

const (
	refusedTurnedAway  refusal = "turned-away" // a new connection, when all others were busy
	refusedCrowdedOut  refusal = "crowded-out" // an idle connection that made room
	refusedMethod      refusal = "method"
	refusedHost        refusal = "host"
	refusedCertificate refusal = "certificate" // none, or not one that allows it
	refusedCrossSite   refusal = "cross-site"
)

func allRefusals() []refusal {
	return []refusal{
		refusedTurnedAway, refusedCrowdedOut, refusedMethod, refusedHost, refusedCertificate, refusedCrossSite,
	}
}

// door is the listener of HTTP. It counts the connections, and closes those that are too many.
type door struct {
	net.Listener
	refused map[refusal]*atomic.Uint64 // the keys never change

	mu      sync.Mutex
	waiting list.List      // Guarded by mu. Of *conn: those without a request, the longest first.
	all     int            // Guarded by mu.
	from    map[string]int // Guarded by mu. How many from each machine.
}

// conn is a connection that has come through the door.
type conn struct {
	net.Conn
	door  *door
	addr  string        // see connlimit.Machine
	place *list.Element // Guarded by door.mu. Among those that wait; nil: it has a request.
	left  bool          // Guarded by door.mu.
}

func newDoor(l net.Listener) *door {
	d := &door{Listener: l, refused: map[refusal]*atomic.Uint64{}, from: map[string]int{}}
	for _, why := range allRefusals() {
		d.refused[why] = new(atomic.Uint64)
	}
	return d
}

// Accept waits for the next connection that there is room for.
func (d *door) Accept() (net.Conn, error) {
	for {
		nc, err := d.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if c := d.enter(nc); c != nil {
			return c, nil
		}
		d.refuse(refusedTurnedAway)
		connlimit.HangUp(nc)
	}
}

// enter counts a connection in, nil if there is no room.
func (d *door) enter(nc net.Conn) *conn {
	c := &conn{Conn: nc, door: d, addr: connlimit.Machine(nc.RemoteAddr())}
	d.mu.Lock()
	defer d.mu.Unlock()
	if crowded := d.from[c.addr] >= maxConnsPerAddr; crowded || d.all >= maxConns {
		idle := d.longestLocked(c.addr, crowded)
		if idle == nil {
			return nil
		}
		d.refuse(refusedCrowdedOut)
		d.leaveLocked(idle)
		connlimit.HangUp(idle.Conn)
	}
	d.all++
	d.from[c.addr]++
	c.place = d.waiting.PushBack(c)
	return c
}

// longestLocked is the connection that has been without a request for longest, of one machine or of all.
func (d *door) longestLocked(addr string, ofAddr bool) *conn {
	for e := d.waiting.Front(); e != nil; e = e.Next() {
		if c := e.Value.(*conn); !ofAddr || c.addr == addr { //nolint:forcetypeassert // there is nothing else in it
			return c
		}
	}
	return nil
}

func (d *door) leaveLocked(c *conn) {
	if c.left {
		return
	}
	c.left = true
	d.all--
	if d.from[c.addr]--; d.from[c.addr] == 0 {
		delete(d.from, c.addr)
	}
	d.stopWaitingLocked(c)
}

func (d *door) stopWaitingLocked(c *conn) {
	if c.place != nil {
		d.waiting.Remove(c.place)
		c.place = nil
	}
}

// Close counts the connection out.
func (c *conn) Close() error {
	c.door.mu.Lock()
	c.door.leaveLocked(c)
	c.door.mu.Unlock()
	return c.Conn.Close()
}

// state learns from the server what a connection does.
func (d *door) state(nc net.Conn, now http.ConnState) {
	if tc, ok := nc.(*tls.Conn); ok {
		nc = tc.NetConn()
	}
	c, ok := nc.(*conn)
	if !ok {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case c.left:
	case now == http.StateActive: // a request has come, head and all
		d.stopWaitingLocked(c)
	case now == http.StateIdle && c.place == nil:
		c.place = d.waiting.PushBack(c)
	}
}

// count is how many connections there are.
func (d *door) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.all
}

// refuse counts a refusal.
func (d *door) refuse(why refusal) { d.refused[why].Add(1) }
