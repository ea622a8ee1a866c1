package client

import (
	"bytes"
	"context"
	"io"
	"testing"

	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// onlyReader hides Seek.
type onlyReader struct{ io.Reader }

// refuseLate refuses a put after its first chunk.
func refuseLate(_ context.Context, c *mux.ServerCall) error {
	if c.Op() != wire.OpPut {
		return nil
	}
	if _, err := c.Recv(); err != nil {
		return err
	}
	return wire.Errorf(wire.OpPut, wire.CodeUnavailable, "not now")
}

// loseReply makes a node store what is put and hang up instead of answering.
func loseReply(n *fakeNode) { n.set(nil, func(c *mux.ServerCall) bool { return c.Op() == wire.OpPut }) }

// putVia puts data through a cell of two nodes, of which the first was prepared.
func putVia(t *testing.T, data []byte, prepare func(n1 *fakeNode), r io.Reader) (*fakeCell, error) {
	t.Helper()
	cell := newFakeCell()
	n1, n2 := cell.node(t, "n1"), cell.node(t, "n2")
	prepare(n1)
	c := newClient(t, 3, n1, n2)
	l, err := c.Put(t.Context(), r, PutOptions{})
	if err == nil && !bytes.Equal(cell.stored(l.Extent)[l.Offset:], data) {
		t.Errorf("%s does not have the bytes that were put", l)
	}
	return cell, err
}

func TestPutIsRepeatedOnlyWhenSafe(t *testing.T) {
	data := randomBytes(600_000)
	put := func(t *testing.T, prepare func(n1 *fakeNode), r io.Reader) error {
		_, err := putVia(t, data, prepare, r)
		return err
	}
	t.Run("seeker", func(t *testing.T) {
		if err := put(t, func(n *fakeNode) { n.set(refuseLate, nil) }, bytes.NewReader(data)); err != nil {
			t.Error(err)
		}
	})
	t.Run("full disk", func(t *testing.T) {
		for _, code := range []wire.Code{wire.CodeNoSpace, wire.CodeDiskFailed} {
			full := func(context.Context, *mux.ServerCall) error { return wire.Errorf(wire.OpPut, code, "no room") }
			if err := put(t, func(n *fakeNode) { n.set(full, nil) }, bytes.NewReader(data)); err != nil {
				t.Errorf("%s: %v", code, err)
			}
		}
	})
	t.Run("small stream", func(t *testing.T) {
		if err := put(t, func(n *fakeNode) { n.set(refuseLate, nil) }, onlyReader{bytes.NewReader(data)}); err != nil {
			t.Error(err)
		}
	})
	t.Run("stream", func(t *testing.T) {
		refuseAtEnd := func(_ context.Context, c *mux.ServerCall) error {
			for {
				if _, err := c.Recv(); err != nil {
					return wire.Errorf(wire.OpPut, wire.CodeUnavailable, "not now: %v", err)
				}
			}
		}
		err := put(t, func(n *fakeNode) { n.set(refuseAtEnd, nil) }, onlyReader{bytes.NewReader(randomBytes(2 * keptBytes))})
		if wire.CodeOf(err) != wire.CodeUnavailable {
			t.Errorf("%v, want unavailable: what was read cannot be read again", err)
		}
	})
	// A node has had its first 1 MiB by the time it finds that it has nowhere to put it, and more has been sent.
	t.Run("stream refused", func(t *testing.T) {
		refuse := func(_ context.Context, c *mux.ServerCall) error {
			for got := 0; got <= 1<<20; {
				chunk, err := c.Recv()
				if err != nil {
					return err
				}
				got += len(chunk)
			}
			return wire.Errorf(wire.OpPut, wire.CodeUnavailable, "no extent to write to")
		}
		long := randomBytes(8 << 20)
		r := onlyReader{bytes.NewReader(long)}
		if _, err := putVia(t, long, func(n *fakeNode) { n.set(refuse, nil) }, r); err != nil {
			t.Error(err)
		}
	})
	t.Run("stream unread", func(t *testing.T) {
		if err := put(t, (*fakeNode).kill, onlyReader{bytes.NewReader(data)}); err != nil {
			t.Error(err)
		}
	})
}

// When the reply is lost nobody knows whether the bytes are stored. Storing them twice does no harm; appending them
// twice would.
func TestPutWithoutReply(t *testing.T) {
	data := randomBytes(600_000)
	t.Run("unknown", func(t *testing.T) {
		cell, err := putVia(t, data, loseReply, bytes.NewReader(data))
		if err != nil || len(cell.stored(1)) != 2*len(data) {
			t.Errorf("%v with %d bytes stored, want the bytes stored twice, and the second named", err, len(cell.stored(1)))
		}
	})
	t.Run("unknown append", func(t *testing.T) {
		cell := newFakeCell()
		n1, n2 := cell.node(t, "n1"), cell.node(t, "n2")
		loseReply(n1)
		_, err := newClient(t, 3, n1, n2).Put(t.Context(), bytes.NewReader(data), PutOptions{Extent: 1})
		if wire.OutcomeOf(err) != wire.Unknown || len(cell.stored(1)) != len(data) {
			t.Errorf("%v with %d bytes stored, want an unknown outcome and the bytes stored once", err, len(cell.stored(1)))
		}
	})
}

// A small put is one frame, to a node that says it takes that, whether or not its length is known. To another node, and
// above wholeBytes, it is chunks.
func TestSmallPutIsOneFrame(t *testing.T) {
	for _, c := range []struct {
		size   int
		takes  wire.Features
		stream bool // the reader cannot seek, and the length is not announced
		extent uint64
		whole  int
	}{
		{0, wire.FeatureWholePut, false, 0, 1},
		{4096, wire.FeatureWholePut, false, 0, 1},
		{4096, wire.FeatureWholePut, true, 0, 1},
		{4096, 0, false, 0, 0},
		{4096, wire.FeatureWholePut, false, 1, 0},
		{wholeBytes, wire.FeatureWholePut, true, 0, 1},
		{wholeBytes + 1, wire.FeatureWholePut, true, 0, 0},
		{wholeBytes + 1, wire.FeatureWholePut, false, 0, 0},
		{3 * wire.MaxChunkBytes, wire.FeatureWholePut, true, 0, 0},
	} {
		cell := newFakeCell()
		n := cell.node(t, "n1")
		n.mu.Lock()
		n.takes = c.takes
		n.mu.Unlock()
		data := randomBytes(c.size)
		r, o := io.Reader(bytes.NewReader(data)), PutOptions{Length: int64(c.size), Extent: c.extent}
		if c.stream {
			r, o.Length = onlyReader{r}, 0
		}
		l, err := newClient(t, 3, n).Put(t.Context(), r, o)
		if err != nil || l.Length != uint64(c.size) || !bytes.Equal(cell.stored(1), data) || n.whole != c.whole {
			t.Errorf("%+v: %v, %v, %d whole puts, %d bytes stored", c, l, err, n.whole, len(cell.stored(1)))
		}
	}
}

// One that failed in one frame is made again from its first byte, at another node: in chunks if that one wants it so.
func TestSmallPutIsRepeated(t *testing.T) {
	data := randomBytes(5000)
	refuse := func(context.Context, *mux.ServerCall) error {
		return wire.Errorf(wire.OpPut, wire.CodeUnavailable, "no")
	}
	for _, r := range []io.Reader{bytes.NewReader(data), onlyReader{bytes.NewReader(data)}} {
		if _, err := putVia(t, data, func(n *fakeNode) {
			n.set(refuse, nil)
			n.mu.Lock()
			defer n.mu.Unlock()
			n.takes = wire.FeatureWholePut
		}, r); err != nil {
			t.Error(err)
		}
	}
}

// An input that is not as long as announced is not stored.
func TestSmallPutOfAnotherLength(t *testing.T) {
	for _, announced := range []int64{99, 101} {
		cell := newFakeCell()
		n := cell.node(t, "n1")
		n.mu.Lock()
		n.takes = wire.FeatureWholePut
		n.mu.Unlock()
		_, err := newClient(t, 3, n).Put(t.Context(), bytes.NewReader(make([]byte, 100)), PutOptions{Length: announced})
		if wire.CodeOf(err) != wire.CodeInvalid || n.asked(wire.OpPut) != 0 {
			t.Errorf("%d announced of 100: %v, asked %d times", announced, err, n.asked(wire.OpPut))
		}
	}
}
