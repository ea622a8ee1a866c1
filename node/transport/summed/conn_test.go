package summed

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"testing"
	"testing/iotest"
	"time"
)

// bufferConn is what was written to a connection, to be read again.
type bufferConn struct {
	net.Conn
	bytes.Buffer
}

func (c *bufferConn) Read(p []byte) (int, error)  { return c.Buffer.Read(p) }
func (c *bufferConn) Write(p []byte) (int, error) { return c.Buffer.Write(p) }

func noDamage(t *testing.T) func(*DamageError) {
	return func(err *DamageError) { t.Error(err) }
}

// What is written in any pieces is read again, whatever the pieces it comes in.
func TestSummedStream(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	var on bufferConn
	w := New(&on, noDamage(t))
	var sent []byte
	for range 50 {
		piece := make([]byte, rng.IntN(3*maxRecordBytes/2))
		for i := range piece {
			piece[i] = byte(rng.Uint32())
		}
		if n, err := w.Write(piece); n != len(piece) || err != nil {
			t.Fatal(n, err)
		}
		sent = append(sent, piece...)
	}
	r := New(&on, noDamage(t))
	got, err := io.ReadAll(iotest.HalfReader(r))
	if err != nil || !bytes.Equal(got, sent) {
		t.Errorf("%d bytes read of %d, %v", len(got), len(sent), err)
	}
}

// Any flipped bit, any record that is left out or comes twice, ends the stream before a byte of it is read.
func TestSummedStreamDamaged(t *testing.T) {
	t.Parallel()
	var on bufferConn
	w := New(&on, noDamage(t))
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
		c := New(&bufferConn{Buffer: *bytes.NewBuffer(b)}, func(*DamageError) { told++ })
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
	if _, err := New(&on, noDamage(t)).Write([]byte("a record")); err != nil {
		t.Fatal(err)
	}
	r := New(there, noDamage(t))
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
