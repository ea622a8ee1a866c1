package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"github.com/datanode/datanode/pki"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// acceptPause is how long no connection is accepted after that has failed.
const acceptPause = 20 * time.Millisecond

// listener is the node's one listener. It tells by the first byte of each connection, and with TLS
// by the protocol agreed on, what follows, and hands the connection to the frames' side or to raft's.
// It implements raftlog.StreamLayer.
type listener struct {
	net.Listener
	firstByte time.Duration
	hello     func() streamHello      // of this node, as it is now
	refuse    func(node string) error // tells why a node's raft streams are not taken
	// blank tells that this node's log is empty. If the folder was emptied, the node may have voted and
	// acknowledged entries that it no longer knows: it must neither vote nor follow in a cell that exists
	// before that cell has let it in.
	blank     func() bool
	dial      dialer
	pause     func(time.Duration) <-chan struct{}
	frames    func(arrival)
	secure    *security // nil: plaintext
	logger    *slog.Logger
	raft      chan net.Conn // accepted raft streams
	done      chan struct{} // closed by Close
	closeOnce sync.Once
	wg        sync.WaitGroup
	census    *census // of what was accepted
	stock     *stock
	nodeAt    func(addr string) string // the node that has an address, empty if it is not known
	nodesFrom func(ip string) bool     // whether the cell has a node on a machine
	streams   *streams
	denied    *denials
	plain     plainAddrs             // that know no streams with checksums
	proven    func(addr string) bool // whether the node there is known to know them
}

// arrival is a connection whose preamble byte was read.
type arrival struct {
	net.Conn
	who   caller
	share *mux.Share // of the memory behind connections
	// greeted is to be called once hellos are exchanged, with what the peer says that it is. false: it was closed
	// meanwhile, or there is no room for it.
	greeted func(node string) bool
	// offended is to be called when the connection ends for what its peer did.
	offended func(offence)
}

func newListener(inner net.Listener, firstByte time.Duration) *listener {
	l := &listener{
		Listener: inner, firstByte: firstByte, raft: make(chan net.Conn), done: make(chan struct{}),
		census: newCensus(), streams: newStreams(), stock: newStock(), nodeAt: func(string) string { return "" },
		proven: func(string) bool { return false }, logger: slog.New(slog.DiscardHandler),
		denied:    newDenials(nil, time.Now, slog.New(slog.DiscardHandler)),
		nodesFrom: func(string) bool { return false },
	}
	l.census.kept.mayBeNode = l.mayBeNode
	return l
}

// run accepts until Close. The frames function must have been set.
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
				case <-l.pause(acceptPause):
				case <-l.done:
				}
				continue
			}
			if l.census.add(nc) {
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
			l.census.remove(nc)
		}
	}()
	if err := nc.SetDeadline(time.Now().Add(l.firstByte)); err != nil {
		return
	}
	greeted, who, kind, err := l.greet(nc)
	var theirs streamHello
	if err == nil && kind != wire.PreambleFrames {
		theirs, err = l.checkStream(greeted, who, kind)
	}
	if err != nil {
		l.denied.note(deniedRaft, who.name(theirs.node), err)
		if why := offenceOf(err); why != "" {
			l.census.offended(nc, why)
		}
		if !errors.Is(err, io.EOF) { // somebody who only looks whether the port is open
			l.logger.Info("connection refused", "remote", nc.RemoteAddr().String(), "error", err)
		}
		return
	}
	if nc.SetDeadline(time.Time{}) != nil {
		return
	}
	if kind == wire.PreambleFrames {
		if share := l.census.share(nc, who); share != nil {
			l.frames(arrival{
				Conn: greeted, who: who, share: share,
				greeted:  func(node string) bool { return l.census.greeted(nc, l.whose(nc, who, node)) },
				offended: func(why offence) { l.census.offended(nc, why) },
			})
		}
		return
	}
	if !l.census.greeted(nc, l.whose(nc, who, theirs.node)) {
		return
	}
	watchLine(nc)
	stream := l.newStream(greeted, nc, who, theirs.node, kind)
	select {
	case l.raft <- stream:
		keep = true
	case <-l.done:
		stream.Close()
	}
}

// unwelcome is why a connection is not taken, when that is its peer's doing.
type unwelcome struct {
	offence offence
	error
}

func (r *unwelcome) Unwrap() error { return r.error }

// offenceOf is what the peer did that a connection was not taken, empty for nothing.
func offenceOf(err error) offence {
	var r *unwelcome
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return offenceSilent
	case errors.As(err, &r) && !errors.Is(err, net.ErrClosed): // that one had to make room
		return r.offence
	}
	return "" // it only looked whether the port is open, or has gone
}

// greet reads up to and with the preamble byte, which it gives, and tells who is there.
func (l *listener) greet(nc net.Conn) (net.Conn, caller, byte, error) {
	first, err := readByte(nc)
	switch {
	case err != nil:
		return nil, caller{}, 0, err
	case first == wire.PreambleTLS && l.secure != nil:
		greeted, who, kind, err := l.secure.accept(&prefixedConn{Conn: nc, prefix: []byte{first}})
		// A node goes on dialing when its certificate has ended or is revoked. Its address may be that of others, too:
		// all of the cell's on a machine for trials. Whoever has a good certificate costs as much by dialing.
		// And whoever hangs up on a node whose own certificate is no good is right.
		if err != nil && !pki.UnfitNode(err) && l.secure.source.Own() == nil {
			err = &unwelcome{offenceHandshake, err}
		}
		return greeted, who, kind, err
	case first == wire.PreambleTLS:
		return nil, caller{}, 0, &unwelcome{offencePreamble, errors.New("the peer wants TLS, this node has no certificate")}
	case first != wire.PreambleFrames && first != wire.PreambleRaft && first != wire.PreambleSummed:
		return nil, caller{}, 0, &unwelcome{offencePreamble, fmt.Errorf("first byte %#x: neither TLS, frames nor a raft stream", first)}
	case l.secure != nil:
		return nil, caller{}, 0, &unwelcome{offencePreamble, errors.New("the peer wants plaintext, this node speaks TLS only")}
	}
	return nc, caller{}, first, nil
}

func (l *listener) judgeStream(theirs streamHello, who caller) error {
	mine := l.hello()
	switch {
	case len(theirs.node) > wire.MaxNameBytes || !wire.Plain(theirs.node):
		return fmt.Errorf("raft stream of node %q, want a plain name of at most %d bytes", theirs.node, wire.MaxNameBytes)
	case mine.cell != "" && theirs.cell != "" && mine.cell != theirs.cell:
		return fmt.Errorf("raft stream of node %q of cell %q, this node is of %q", theirs.node, theirs.cell, mine.cell)
	case theirs.era < mine.era && theirs.cell != "":
		return fmt.Errorf("raft stream of node %q, which does not know that the cell was recovered with entry %d: what it takes for the cell has ended", theirs.node, mine.era)
	case mine.cell == "" && theirs.cell != "" && l.blank():
		return fmt.Errorf("raft stream of node %q of cell %q, which has not let this empty folder in", theirs.node, theirs.cell)
	}
	if l.refuse != nil {
		if err := l.refuse(theirs.node); err != nil {
			return err
		}
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
		l.census.close()
	})
	return nil
}

func (l *listener) wait() { l.wg.Wait() }

func readShort(r io.Reader) (string, error) {
	n, err := readByte(r)
	if err != nil {
		return "", err
	}
	buf := make([]byte, n)
	_, err = io.ReadFull(r, buf)
	return string(buf), err
}

func readByte(r io.Reader) (byte, error) {
	var b [1]byte
	_, err := io.ReadFull(r, b[:])
	return b[0], err
}

// listen opens the listener of cfg.
func listen(ctx context.Context, cfg Config) (net.Listener, error) {
	if cfg.Listener != nil {
		return cfg.Listener, nil
	}
	if open := !loopback(cfg.Listen) && !cfg.TLS.Any(); open && !cfg.Insecure {
		return nil, fmt.Errorf("%s can be reached from other machines and there is no certificate: anyone who reaches it could read and delete data; give one with --tls-cert, --tls-key and --tls-ca, listen on 127.0.0.1, or accept it with --insecure", cfg.Listen)
	} else if open {
		cfg.Logger.Warn("insecure: this node speaks plaintext beyond this machine; anyone who reaches it can read and delete", "listen", cfg.Listen)
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("cannot listen on %s: %w; is another node running there? choose another --listen", cfg.Listen, err)
	}
	return l, nil
}
