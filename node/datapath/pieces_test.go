package datapath

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/datanode/datanode/node/clock"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// A put of more than it announced is refused as soon as one byte too many is there, whether or not the caller ever
// ends it.
func TestPutOfTooMuchIsSeenAtOnce(t *testing.T) {
	for _, length := range []int64{0, 2, AppendBytes - 1, AppendBytes, AppendBytes + 1} {
		chunks := [][]byte{make([]byte, length), make([]byte, 1)}
		prompt := func() func() bool { return func() bool { return false } }
		r := &pieces{expect: length, hold: func(int) error { return nil }, stalls: prompt, recv: func() ([]byte, error) {
			if len(chunks) == 0 {
				return nil, errors.New("asked for more")
			}
			next := chunks[0]
			chunks = chunks[1:]
			return next, nil
		}}
		var err error
		for err == nil {
			_, _, err = r.next()
		}
		if wire.CodeOf(err) != wire.CodeInvalid {
			t.Errorf("one byte more than the %d announced: %v", length, err)
		}
	}
}

// The bytes of a put in its request are as many as announced, and no more than one append takes; those that are not
// copied into a batch are not the call's, which may end before a replica has done with them.
func TestWholePut(t *testing.T) {
	for _, c := range []struct {
		length   int64
		size     int
		code     wire.Code
		copyMade bool
	}{
		{100, 100, 0, false},
		{copiedBytes, copiedBytes, 0, false},
		{copiedBytes + 1, copiedBytes + 1, 0, true},
		{-1, 100, wire.CodeInvalid, false},
		{99, 100, wire.CodeInvalid, false},
		{100, 0, wire.CodeInvalid, false},
		{AppendBytes + 1, AppendBytes + 1, wire.CodeInvalid, false},
	} {
		raw := make([]byte, c.size)
		p, err := wholePut(raw, wire.PutRequest{Length: c.length, Whole: true})
		if wire.CodeOf(err) != c.code || c.code == 0 && (len(p) != c.size || (&p[0] != &raw[0]) != c.copyMade) {
			t.Errorf("%d announced, %d there: %d bytes, %v", c.length, c.size, len(p), err)
		}
	}
}

// A put whose sender sends nothing for too long ends with a typed error, whatever of it has come, and its node waits no
// longer. One that sends a little now and then goes on.
func TestPutWhoseSenderStalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit = time.Minute
		dp := &Path{o: &Options{Clock: clock.Of(mux.Clock{}), SenderLimit: limit}}
		here, there := net.Pipe()
		ended := make(chan error, 1)
		server := make(chan *mux.Conn, 1)
		go func() {
			if _, err := io.ReadFull(there, make([]byte, 1)); err != nil { // says that frames follow
				t.Error(err)
			}
			c, err := mux.Server(context.Background(), there, mux.Config{Hello: wire.Hello{Cell: "c", Node: "n1"},
				Handler: mux.HandlerFunc(func(_ context.Context, c *mux.ServerCall) {
					_, _, err := dp.piecesOf(c, -1).next()
					ended <- err
					_ = c.Fail(err) // as routes do
				})})
			if err != nil {
				t.Error(err)
			}
			server <- c
		}()
		conn, err := mux.Client(t.Context(), here, mux.Config{})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		defer func() { (<-server).Close() }()
		s, err := conn.Open(t.Context(), mux.Request{Op: wire.OpPut, Session: wire.SessionClient,
			Body: &wire.PutRequest{Length: -1}})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		began := time.Now()
		for range 3 {
			if err := s.Send(make([]byte, 1000)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(limit - time.Second) // of the bubble's clock
		}
		_, err = s.Reply()
		if wire.CodeOf(err) != wire.CodeDeadline || !strings.Contains(err.Error(), "put it again") {
			t.Errorf("%v, want %s", err, wire.CodeDeadline)
		}
		if took := time.Since(began); took != 3*limit-2*time.Second {
			t.Errorf("it ended after %s, want a minute after the last chunk", took)
		}
		if err := <-ended; !errors.Is(err, errStalled) {
			t.Errorf("the node's side ended with %v", err)
		}
	})
}
