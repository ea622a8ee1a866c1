package node

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
	// maxHTTPConns bounds the connections of HTTP, and maxHTTPConnsPerAddr those from one machine. One more closes the
	// one that has been without a request for longest: those who ask nothing must not keep out those who look whether
	// the node lives.
	maxHTTPConns        = 64
	maxHTTPConnsPerAddr = 16
)

// httpRefusal is why HTTP was refused. The values are labels of a metric.
type httpRefusal string

const (
	httpTurnedAway  httpRefusal = "turned-away" // a new connection, when all others were busy
	httpCrowdedOut  httpRefusal = "crowded-out" // an idle connection that made room
	httpMethod      httpRefusal = "method"
	httpHost        httpRefusal = "host"
	httpCertificate httpRefusal = "certificate" // none, or not one that allows it
	httpCrossSite   httpRefusal = "cross-site"
)

func allHTTPRefusals() []httpRefusal {
	return []httpRefusal{httpTurnedAway, httpCrowdedOut, httpMethod, httpHost, httpCertificate, httpCrossSite}
}

// httpDoor is the listener of HTTP. It counts the connections, and closes those that are too many.
type httpDoor struct {
	net.Listener
	refused map[httpRefusal]*atomic.Uint64 // the keys never change

	mu      sync.Mutex
	waiting list.List      // Guarded by mu. Of *httpConn: those without a request, the longest first.
	all     int            // Guarded by mu.
	from    map[string]int // Guarded by mu. How many from each machine.
}

// httpConn is a connection that has come through the door.
type httpConn struct {
	net.Conn
	door  *httpDoor
	addr  string        // see connlimit.Machine
	place *list.Element // Guarded by door.mu. Among those that wait; nil: it has a request.
	left  bool          // Guarded by door.mu.
}

func newHTTPDoor(l net.Listener) *httpDoor {
	d := &httpDoor{Listener: l, refused: map[httpRefusal]*atomic.Uint64{}, from: map[string]int{}}
	for _, why := range allHTTPRefusals() {
		d.refused[why] = new(atomic.Uint64)
	}
	return d
}

// Accept waits for the next connection that there is room for.
func (d *httpDoor) Accept() (net.Conn, error) {
	for {
		nc, err := d.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if c := d.enter(nc); c != nil {
			return c, nil
		}
		d.refused[httpTurnedAway].Add(1)
		connlimit.HangUp(nc)
	}
}

// enter counts a connection in, nil if there is no room.
func (d *httpDoor) enter(nc net.Conn) *httpConn {
	c := &httpConn{Conn: nc, door: d, addr: connlimit.Machine(nc.RemoteAddr())}
	d.mu.Lock()
	defer d.mu.Unlock()
	if crowded := d.from[c.addr] >= maxHTTPConnsPerAddr; crowded || d.all >= maxHTTPConns {
		idle := d.longestLocked(c.addr, crowded)
		if idle == nil {
			return nil
		}
		d.refused[httpCrowdedOut].Add(1)
		d.leaveLocked(idle)
		connlimit.HangUp(idle.Conn)
	}
	d.all++
	d.from[c.addr]++
	c.place = d.waiting.PushBack(c)
	return c
}

// longestLocked is the connection that has been without a request for longest, of one machine or of all.
func (d *httpDoor) longestLocked(addr string, ofAddr bool) *httpConn {
	for e := d.waiting.Front(); e != nil; e = e.Next() {
		if c := e.Value.(*httpConn); !ofAddr || c.addr == addr { //nolint:forcetypeassert // there is nothing else in it
			return c
		}
	}
	return nil
}

func (d *httpDoor) leaveLocked(c *httpConn) {
	if c.left {
		return
	}
	c.left = true
	d.all--
	if d.from[c.addr]--; d.from[c.addr] == 0 {
		delete(d.from, c.addr)
	}
	d.settleLocked(c)
}

func (d *httpDoor) settleLocked(c *httpConn) {
	if c.place != nil {
		d.waiting.Remove(c.place)
		c.place = nil
	}
}

// Close counts the connection out.
func (c *httpConn) Close() error {
	c.door.mu.Lock()
	c.door.leaveLocked(c)
	c.door.mu.Unlock()
	return c.Conn.Close()
}

// state is told by the server what a connection does.
func (d *httpDoor) state(nc net.Conn, now http.ConnState) {
	if tc, ok := nc.(*tls.Conn); ok {
		nc = tc.NetConn()
	}
	c, ok := nc.(*httpConn)
	if !ok {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case c.left:
	case now == http.StateActive: // a request has come, head and all
		d.settleLocked(c)
	case now == http.StateIdle && c.place == nil:
		c.place = d.waiting.PushBack(c)
	}
}

// count is how many connections there are.
func (d *httpDoor) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.all
}
