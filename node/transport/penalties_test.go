package transport

import (
	"context"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/datanode/datanode/node/transport/connlimit"
	"github.com/datanode/datanode/pki"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/client"
	"github.com/datanode/datanode/wire/mux"
)

// What a peer may not do is an offence of its address, and what may happen to anybody is not.
func TestOffences(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		secure bool
		send   []byte
		hangUp bool // and no more
		want   connlimit.Offence
	}{
		"nothing":               {send: nil, want: connlimit.OffenceSilent},
		"a look at the port":    {send: nil, hangUp: true},
		"unknown first byte":    {send: []byte{'G'}, want: connlimit.OffencePreamble},
		"plaintext, not TLS":    {secure: true, send: []byte{wire.PreambleFrames}, want: connlimit.OffencePreamble},
		"half a client's hello": {secure: true, send: []byte{wire.PreambleTLS, 3, 1, 2, 0, 1}, want: connlimit.OffenceSilent},
		"gone in the handshake": {
			secure: true, send: []byte{wire.PreambleTLS, 3, 1, 2, 0, 1}, hangUp: true, want: connlimit.OffenceHandshake,
		},
		"not TLS at all": {
			secure: true, send: []byte{wire.PreambleTLS, 3, 1, 0xff, 0xff, 1}, want: connlimit.OffenceHandshake,
		},
		"half a raft hello": {send: []byte{wire.PreambleRaft, 200, 'c'}, want: connlimit.OffenceSilent},
	} {
		t.Run(name, func(t *testing.T) {
			l := lone(t, sourced(t, c.secure))
			nc := connect(t, l, c.send)
			if c.hangUp {
				if err := nc.CloseWrite(); err != nil {
					t.Fatal(err)
				}
			}
			_, _ = io.Copy(io.Discard, nc) // until the listener has closed it
			l.Stop()
			l.Wait()
			got := l.Limits().Penalties().Offences
			if c.want == "" && len(got) > 0 || c.want != "" && got[c.want] != 1 {
				t.Errorf("offences %v, want %q", got, c.want)
			}
		})
	}
}

// What the frames' side finds is an offence of the address too, but not what is done with a node's certificate.
func TestOffencesOfFrames(t *testing.T) {
	malformed := endedBy(t, []byte{0xff, 0xff, 0xff, 0xff})
	mismatched := endedBy(t, wire.AppendFrame(nil, &wire.Header{Kind: wire.KindPong, ID: 1}, nil, nil))
	for _, c := range []struct {
		err  error
		want connlimit.Offence
	}{
		{errors.New("closed by the peer"), ""},
		{mux.ErrClosed, ""},
		{wire.Errorf(0, wire.CodeWrongCell, "another cell's"), ""},
		{wire.Errorf(0, wire.CodeDeadline, "no hello"), connlimit.OffenceSilent},
		{malformed, connlimit.OffenceFrame},
		{mismatched, connlimit.OffenceMismatch},
	} {
		for _, who := range []Caller{{}, CallerWith(pki.Identity{Role: pki.RoleAdmin}), NodeCaller("")} {
			got, want := connlimit.Offence(""), c.want
			if who.Role == pki.RoleNode {
				want = ""
			}
			a := arrival{who: who, offended: func(why connlimit.Offence) { got = why }}
			if a.ended(c.err); got != want {
				t.Errorf("%v of %v: offence %q, want %q", c.err, who, got, want)
			}
		}
	}
}

// helloFrame is the hello of a connection for calls, without the preamble.
func helloFrame(t *testing.T) []byte {
	t.Helper()
	hello, err := wire.Marshal(&wire.Hello{
		Magic: wire.Magic, MinVersion: wire.MinVersion, MaxVersion: wire.Version, MaxFrameBytes: 1 << 20,
		WindowBytes: 1 << 20, SessionWindowBytes: 1 << 20, MaxInFlight: 1,
	})
	if err != nil {
		t.Fatal(err)
	}
	return wire.AppendFrame(nil, &wire.Header{Kind: wire.KindHello}, hello, nil)
}

// endedBy is why a connection ends on which the peer sends b after its hello.
func endedBy(t *testing.T, b []byte) error {
	t.Helper()
	hello := helloFrame(t)
	theirs, ours := net.Pipe()
	defer theirs.Close()
	go func() {
		// Without the preamble: the listener has taken it.
		if _, err := theirs.Write(hello); err != nil {
			return
		}
		go func() { _, _ = io.Copy(io.Discard, theirs) }()
		_, _ = theirs.Write(b) // the other side may have hung up before it was all written
	}()
	conn, err := mux.Server(t.Context(), ours, mux.Config{})
	if err != nil {
		t.Fatal(err)
	}
	<-conn.Done()
	conn.Close()
	return conn.Err()
}

// stillClock is a clock that only the test moves.
type stillClock struct{ at atomic.Int64 }

func (c *stillClock) now() time.Time       { return time.Unix(1e9, c.at.Load()) }
func (c *stillClock) move(d time.Duration) { c.at.Add(int64(d)) }

// Whoever sends malformed frames again and again is turned away, and so is an honest client behind the same
// address; but that one gets in as soon as the wait is over, while the other goes on.
func TestHonestBesideHostile(t *testing.T) {
	clock := new(stillClock)
	l := lone(t, Options{
		FirstByte: patience,
		Clock: mux.Clock{Now: clock.now, AfterFunc: func(time.Duration, func()) func() bool {
			return func() bool { return true }
		}},
		Serve: func(_ context.Context, c *mux.ServerCall, _ Caller) {
			if err := c.Reply(&wire.Status{}, nil); err != nil {
				t.Log(err) // the client hung up
			}
		},
	})
	addr := l.listener.Addr().String()
	dial := func(ctx context.Context, addr string) (net.Conn, error) {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 9, 9, 9)}}
		return d.DialContext(ctx, "tcp", addr)
	}
	offend := func() {
		nc, err := dial(t.Context(), addr)
		if err != nil {
			t.Skipf("this system has one loopback address: %v", err)
		}
		defer nc.Close()
		_, _ = nc.Write(append(append([]byte{wire.PreambleFrames}, helloFrame(t)...), 0xff, 0xff, 0xff, 0xff))
		_, _ = io.Copy(io.Discard, nc)
	}
	for i := range connlimit.FreeOffences + 1 {
		offend()
		untilTrue(t, "the offence is noted", func() bool {
			return l.Limits().Penalties().Offences[connlimit.OffenceFrame] == uint64(i+1)
		})
	}
	offend()
	got := l.Limits().Penalties()
	if got.Offences[connlimit.OffenceFrame] != connlimit.FreeOffences+1 || got.TurnedAway != 1 || got.Waiting != 1 {
		t.Fatalf("counted %+v, want the last connection turned away", got)
	}
	status := func(dial Dialer) error {
		cl := client.New(client.Options{Addrs: []string{addr}, Dial: dial, RetryFor: -1})
		defer cl.Close()
		_, err := cl.Status(t.Context())
		return err
	}
	if err := status(dial); wire.CodeOf(err) == 0 {
		t.Fatalf("beside a hostile one: %v, want it turned away", err)
	}
	if err := status(DialTCP); err != nil {
		t.Errorf("from another address: %v", err)
	}
	clock.move(connlimit.FirstWait)
	if err := status(dial); err != nil {
		t.Errorf("after the wait: %v", err)
	}
}
