package transport

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/datanode/datanode/node/transport/connlimit"
	"github.com/datanode/datanode/pki"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// acceptPause is how long no connection is accepted after that has failed.
const acceptPause = 20 * time.Millisecond

// listener is the node's one listener. It finds out by the first byte of each connection, and with TLS
// by the protocol agreed on, what follows, and hands the connection to the frames' side or to raft's.
// It implements raftlog.StreamLayer.
type listener struct {
	net.Listener
	o       *Options
	secure  *security // nil: plaintext
	limits  *connlimit.Limits
	table   *ConnTable
	denied  *Denials
	where   *addresses
	frames  func(arrival) // serves a connection for calls until it ends
	plain   plainAddrs    // that know no streams with checksums
	damaged atomic.Uint64 // streams that ended because of damage, since the start

	raft      chan net.Conn // accepted raft streams
	done      chan struct{} // closed by Close
	closeOnce sync.Once
	wg        sync.WaitGroup
}

// arrival is a connection whose preamble byte was read.
type arrival struct {
	net.Conn
	who   Caller
	share *mux.Share // of the memory behind connections
	// greeted is to be called once hellos are exchanged, with what the peer says that it is. false: it was closed
	// meanwhile, or there is no room for it.
	greeted func(node string) bool
	// offended is to be called when the connection ends for what its peer did.
	offended func(connlimit.Offence)
}

func newListener(o *Options, secure *security, limits *connlimit.Limits, table *ConnTable, denied *Denials,
	where *addresses, frames func(arrival)) *listener {
	return &listener{
		Listener: o.Listener, o: o, secure: secure, limits: limits, table: table, denied: denied, where: where,
		frames: frames,
		raft:   make(chan net.Conn), done: make(chan struct{}),
	}
}

// run accepts until Close.
func (l *listener) run() {
	if l.secure != nil {
		l.wg.Go(l.judgeStreams)
	}
	l.wg.Add(1)
	go func() {
		defer l.wg.Done()
		for {
			nc, err := l.Listener.Accept()
			if err != nil {
				if errors.Is(err, net.ErrClosed) {
					return
				}
				select { // out of file descriptors, a peer that was gone already
				case <-l.o.after(acceptPause):
				case <-l.done:
				}
				continue
			}
			if l.limits.Add(nc) {
				l.wg.Add(1)
				go l.sort(nc)
			}
		}
	}()
}

// sort finds out what a connection is for and hands it on. frames runs in this goroutine until the
// connection has ended. One deadline is over all that comes before, however slowly it is sent.
func (l *listener) sort(nc net.Conn) {
	defer l.wg.Done()
	keep := false
	defer func() {
		if !keep {
			nc.Close()
			l.limits.Remove(nc)
		}
	}()
	if err := nc.SetDeadline(time.Now().Add(l.o.FirstByte)); err != nil {
		return
	}
	greeted, who, kind, err := l.greet(nc)
	var theirs Hello
	if err == nil && kind != wire.PreambleFrames {
		theirs, err = l.checkStream(greeted, who, kind)
	}
	if err != nil {
		l.denied.Note(deniedRaft, who.Describe(theirs.Node), err)
		if why := offenceOf(err); why != "" {
			l.limits.Offended(nc, why)
		}
		if !errors.Is(err, io.EOF) { // somebody who only looks whether the port is open
			l.o.Logger.Info("connection refused", "remote", nc.RemoteAddr().String(), "error", err)
		}
		return
	}
	if nc.SetDeadline(time.Time{}) != nil {
		return
	}
	if kind == wire.PreambleFrames {
		if share := l.limits.Share(nc, who.provenNode()); share != nil {
			l.frames(arrival{
				Conn: greeted, who: who, share: share,
				greeted:  func(node string) bool { return l.limits.Greeted(nc, l.whose(nc, who, node)) },
				offended: func(why connlimit.Offence) { l.limits.Offended(nc, why) },
			})
		}
		return
	}
	if !l.limits.Greeted(nc, l.whose(nc, who, theirs.Node)) {
		return
	}
	watchLine(nc)
	stream := l.newStream(greeted, openedStream{
		peer: theirs.Node, role: who.Role, direction: DirectionIn, kind: kind, at: theirs.Node,
		accepted: nc, who: who,
	})
	select {
	case l.raft <- stream:
		keep = true
	case <-l.done:
		stream.Close()
	}
}

// whose is the node that a connection is of, empty for none. claimed is what it says of itself: a certificate proves
// it; in plaintext it is taken from where the cell has nodes.
func (l *listener) whose(nc net.Conn, who Caller, claimed string) string {
	switch {
	case who.provenNode():
		return who.Name
	case who.secure || claimed == "" || !l.where.onMachine(connlimit.Machine(nc.RemoteAddr())):
		return ""
	}
	return claimed
}

// rejectedError is why a connection is not taken, when that is its peer's doing.
type rejectedError struct {
	offence connlimit.Offence
	error
}

func (r *rejectedError) Unwrap() error { return r.error }

// notSpoken is why a connection is not taken that begins with what is not spoken here.
func notSpoken(format string, args ...any) error {
	return &rejectedError{connlimit.OffencePreamble, fmt.Errorf(format, args...)}
}

// offenceOf is what the peer did that a connection was not taken, empty for nothing.
func offenceOf(err error) connlimit.Offence {
	var r *rejectedError
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return connlimit.OffenceSilent
	case errors.As(err, &r) && !errors.Is(err, net.ErrClosed): // that one had to make room
		return r.offence
	}
	return "" // it only looked whether the port is open, or has gone
}

// greet reads up to and with the preamble byte, which it gives, and finds out who is there.
func (l *listener) greet(nc net.Conn) (net.Conn, Caller, byte, error) {
	first, err := readByte(nc)
	switch {
	case err != nil:
		return nil, Caller{}, 0, err
	case first == wire.PreambleTLS && l.secure != nil:
		greeted, who, kind, err := l.secure.accept(&prefixedConn{Conn: nc, prefix: []byte{first}})
		// A node goes on dialing when its certificate has ended or is revoked. Its address may be that of others, too:
		// all of the cell's on a machine for trials. Whoever has a good certificate costs as much by dialing.
		// And whoever hangs up on a node whose own certificate is no good is right.
		if err != nil && !pki.UnfitNode(err) && l.secure.source.Own() == nil {
			err = &rejectedError{connlimit.OffenceHandshake, err}
		}
		return greeted, who, kind, err
	case first == wire.PreambleTLS:
		return nil, Caller{}, 0, notSpoken("the peer wants TLS, this node has no certificate")
	case first != wire.PreambleFrames && first != wire.PreambleRaft && first != wire.PreambleSummed:
		return nil, Caller{}, 0, notSpoken("first byte %#x: neither TLS, frames nor a raft stream", first)
	case l.secure != nil:
		return nil, Caller{}, 0, notSpoken("the peer wants plaintext, this node speaks TLS only")
	}
	return nc, Caller{}, first, nil
}

func (l *listener) judgeStream(theirs Hello, who Caller) error {
	mine := l.o.Hello()
	switch {
	case len(theirs.Node) > wire.MaxNameBytes || !wire.Plain(theirs.Node):
		return fmt.Errorf("raft stream of node %q, want a plain name of at most %d bytes", theirs.Node, wire.MaxNameBytes)
	case mine.Cell != "" && theirs.Cell != "" && mine.Cell != theirs.Cell:
		return fmt.Errorf("raft stream of node %q of cell %q, this node is of %q", theirs.Node, theirs.Cell, mine.Cell)
	case theirs.Era < mine.Era && theirs.Cell != "":
		return fmt.Errorf("raft stream of node %q, which does not know that the cell was recovered with entry %d: "+
			"what it takes for the cell has ended", theirs.Node, mine.Era)
	case mine.Cell == "" && theirs.Cell != "" && l.o.Blank():
		return fmt.Errorf("raft stream of node %q of cell %q, which has not let this empty folder in",
			theirs.Node, theirs.Cell)
	}
	if err := l.o.Refuse(theirs.Node); err != nil {
		return err
	}
	if l.secure == nil {
		return nil
	}
	return l.secure.checkStream(theirs, who)
}

// prefixedConn gives again what was read already.
type prefixedConn struct {
	net.Conn
	prefix []byte
}

func (c *prefixedConn) Read(p []byte) (int, error) {
	if len(c.prefix) == 0 {
		return c.Conn.Read(p)
	}
	n := copy(p, c.prefix)
	c.prefix = c.prefix[n:]
	return n, nil
}

// Accept waits for the next raft stream.
func (l *listener) Accept() (net.Conn, error) {
	select {
	case nc := <-l.raft:
		return nc, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

// Close stops accepting and closes what was accepted. It does not wait: raft calls it while it shuts down. See wait.
func (l *listener) Close() error {
	l.closeOnce.Do(func() {
		close(l.done)
		l.Listener.Close()
		l.limits.Close()
	})
	return nil
}

func (l *listener) wait() { l.wg.Wait() }
