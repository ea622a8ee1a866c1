package node

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/datanode/datanode/wire"
)

// bufferConn is what was written to a connection, to be read again.
type bufferConn struct {
	net.Conn
	bytes.Buffer
}

func (c *bufferConn) Read(p []byte) (int, error)  { return c.Buffer.Read(p) }
func (c *bufferConn) Write(p []byte) (int, error) { return c.Buffer.Write(p) }

func noDamage(t *testing.T) func(*damagedStreamError) {
	return func(err *damagedStreamError) { t.Error(err) }
}

// What is written in any pieces is read again, whatever the pieces it comes in.
func TestSummedStream(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	var on bufferConn
	w := newSummedConn(&on, noDamage(t))
	var sent []byte
	for range 50 {
		piece := make([]byte, rng.IntN(3*maxSummedBytes/2))
		for i := range piece {
			piece[i] = byte(rng.Uint32())
		}
		if n, err := w.Write(piece); n != len(piece) || err != nil {
			t.Fatal(n, err)
		}
		sent = append(sent, piece...)
	}
	r := newSummedConn(&on, noDamage(t))
	got, err := io.ReadAll(iotest.HalfReader(r))
	if err != nil || !bytes.Equal(got, sent) {
		t.Errorf("%d bytes read of %d, %v", len(got), len(sent), err)
	}
}

// Any flipped bit, any record that is left out or comes twice, ends the stream before a byte of it is read.
func TestSummedStreamDamaged(t *testing.T) {
	t.Parallel()
	var on bufferConn
	w := newSummedConn(&on, noDamage(t))
	sent, ends := []byte{}, []int{0}
	for i := range 5 {
		piece := bytes.Repeat([]byte{byte('a' + i)}, 20+i)
		if _, err := w.Write(piece); err != nil {
			t.Fatal(err)
		}
		sent = append(sent, piece...)
		ends = append(ends, on.Len())
	}
	whole := bytes.Clone(on.Bytes())
	read := func(what string, b []byte, mustTell bool) {
		t.Helper()
		told := 0
		c := newSummedConn(&bufferConn{Buffer: *bytes.NewBuffer(b)}, func(*damagedStreamError) { told++ })
		got, err := io.ReadAll(c)
		if err == nil || !bytes.HasPrefix(sent, got) || len(got) == len(sent) {
			t.Errorf("%s: read %q, %v", what, got, err)
		}
		if told > 1 || mustTell && told != 1 {
			t.Errorf("%s: told %d times", what, told)
		}
		if _, again := c.Read(make([]byte, 1)); again == nil {
			t.Errorf("%s: it goes on", what)
		}
	}
	for i := range whole {
		for bit := range 8 {
			b := bytes.Clone(whole)
			b[i] ^= 1 << bit
			read("flipped", b, false) // a longer length waits for bytes that do not come
		}
	}
	read("left out", append(bytes.Clone(whole[:ends[1]]), whole[ends[2]:]...), true)
	read("twice", append(bytes.Clone(whole[:ends[2]]), whole[ends[1]:]...), true)
	read("cut", whole[:len(whole)-1], false)
}

// A deadline that passes in mid record loses nothing.
func TestSummedStreamInterrupted(t *testing.T) {
	t.Parallel()
	here, there := net.Pipe()
	defer here.Close()
	defer there.Close()
	var on bufferConn
	if _, err := newSummedConn(&on, noDamage(t)).Write([]byte("a record")); err != nil {
		t.Fatal(err)
	}
	r := newSummedConn(there, noDamage(t))
	buf := make([]byte, 100)
	for _, piece := range [][]byte{on.Bytes()[:3], on.Bytes()[3:9]} {
		sent := make(chan error, 1)
		go func() { // the pipe takes a piece when all of it is read, and then the deadline is over
			_, err := here.Write(piece)
			sent <- errors.Join(err, there.SetReadDeadline(time.Unix(1, 0)))
		}()
		if n, err := r.Read(buf); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("%q, %v; want the deadline", buf[:n], err)
		}
		if err := errors.Join(<-sent, there.SetReadDeadline(time.Time{})); err != nil {
			t.Fatal(err)
		}
	}
	go func() { _, _ = here.Write(on.Bytes()[9:]) }()
	if n, err := r.Read(buf); err != nil || string(buf[:n]) != "a record" {
		t.Errorf("%q, %v", buf[:n], err)
	}
}

// oldBuild is a node that knows no streams in records.
func oldBuild(t *testing.T) (addr string, plain <-chan struct{}) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	greeted := make(chan struct{}, 10)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			first, err := readByte(nc)
			if err == nil && first == wire.PreambleRaft {
				if _, err := readStreamHello(nc); err == nil {
					greeted <- struct{}{}
				}
			}
			nc.Close()
		}
	})
	t.Cleanup(func() { l.Close(); wg.Wait() })
	return l.Addr().String(), greeted
}

// A node of an older build is dialed as it knows it, unless it is known to be of none.
func TestSummedStreamToAnOlderBuild(t *testing.T) {
	t.Parallel()
	l := loneListener(t, false)
	l.dial = dialTCP
	addr, greeted := oldBuild(t)
	for range 2 {
		nc, err := l.Dial(addr, patience)
		if err != nil {
			t.Fatal(err)
		}
		nc.Close()
		select {
		case <-greeted:
		case <-time.After(patience):
			t.Fatal("never dialed in plaintext")
		}
	}
	addr, _ = oldBuild(t)
	l.proven = func(string) bool { return true }
	if nc, err := l.Dial(addr, patience); err == nil {
		nc.Close()
		t.Error("a node that is known to know checksums was dialed without")
	}
}

// flipping is a connection that flips a bit of what holds the word.
type flipping struct{ net.Conn }

func (c flipping) Write(p []byte) (int, error) {
	if i := bytes.Index(p, []byte("flip")); i >= 0 {
		p = bytes.Clone(p)
		p[i] ^= 1
	}
	return c.Conn.Write(p)
}

// Between two nodes of this build a flipped bit ends the stream, is counted and logged, and never read.
func TestSummedStreamBetweenListeners(t *testing.T) {
	t.Parallel()
	from, to := loneListener(t, false), loneListener(t, false)
	from.dial = func(ctx context.Context, addr string) (net.Conn, error) {
		nc, err := dialTCP(ctx, addr)
		return flipping{nc}, err
	}
	out, err := from.Dial(to.Addr().String(), patience)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	in, err := to.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if _, err := out.Write([]byte("sound")); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 100)
	if n, err := in.Read(buf); err != nil || string(buf[:n]) != "sound" {
		t.Fatalf("%q, %v", buf[:n], err)
	}
	if _, err := out.Write([]byte("flip this")); err != nil {
		t.Fatal(err)
	}
	n, err := in.Read(buf)
	if !errors.As(err, new(*damagedStreamError)) {
		t.Errorf("%q, %v; want damage", buf[:n], err)
	}
	if got := to.plain.damaged.Load(); got != 1 {
		t.Errorf("%d counted", got)
	}
	if _, err := in.Read(buf); errors.Is(err, os.ErrDeadlineExceeded) || err == nil {
		t.Errorf("the stream goes on: %v", err)
	}
}
