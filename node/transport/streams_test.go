package transport

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/datanode/datanode/node/transport/summed"
	"github.com/datanode/datanode/wire"
)

// In plaintext the name in a raft stream's hello is anybody's: it must be fit to be shown and kept.
func TestStreamNamesAreBounded(t *testing.T) {
	t.Parallel()
	l := lone(t, Options{FirstByte: patience})
	for name, ok := range map[string]bool{
		"n2": true, "": true, "n2\x1b[31m": false, "n\n2": false, strings.Repeat("n", wire.MaxNameBytes+1): false,
	} {
		nc, err := net.Dial("tcp", l.listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if err := writeStreamHello(nc, Hello{Node: name}); err != nil {
			t.Fatal(err)
		}
		refused, accepted := make(chan struct{}), make(chan bool, 1)
		go func() {
			select {
			case stream := <-l.listener.raft:
				accepted <- true
				stream.Close()
			case <-refused:
				accepted <- false
			}
		}()
		_, _ = io.Copy(io.Discard, nc) // until one of them closes it
		close(refused)
		if got := <-accepted; got != ok {
			t.Errorf("a stream of node %q: accepted %t, want %t", name, got, ok)
		}
		nc.Close()
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
	l := lone(t, Options{})
	addr, greeted := oldBuild(t)
	for range 2 {
		nc, err := l.listener.Dial(addr, patience)
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
	l = lone(t, Options{Proven: func(string) bool { return true }})
	if nc, err := l.listener.Dial(addr, patience); err == nil {
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
	to := lone(t, Options{FirstByte: patience})
	from := lone(t, Options{Dial: func(ctx context.Context, addr string) (net.Conn, error) {
		nc, err := DialTCP(ctx, addr)
		return flipping{nc}, err
	}})
	out, err := from.listener.Dial(to.listener.Addr().String(), patience)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	in, err := to.listener.Accept()
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
	if !errors.As(err, new(*summed.DamageError)) {
		t.Errorf("%q, %v; want damage", buf[:n], err)
	}
	if got := to.DamagedStreams(); got != 1 {
		t.Errorf("%d counted", got)
	}
	if _, err := in.Read(buf); errors.Is(err, os.ErrDeadlineExceeded) || err == nil {
		t.Errorf("the stream goes on: %v", err)
	}
}
