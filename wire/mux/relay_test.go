package mux

import (
	"bytes"
	"context"
	"errors"
	"net"
	"sync"
	"testing"

	"github.com/datanode/datanode/wire"
)

// A chain of client, relay and node: bytes, errors, cancellation and a dead next hop all come through.
func TestRelay(t *testing.T) {
	far := func(ctx context.Context, sc *ServerCall) {
		switch sc.Op() {
		case wire.OpVerify:
			_ = sc.Fail(wire.Errorf(sc.Op(), wire.CodeCorrupt, "rotten"))
		case wire.OpWait:
			<-ctx.Done()
		default:
			echo(ctx, sc)
		}
	}
	overBoth(t, func(t *testing.T, cnc, snc net.Conn) {
		farClient, farServer := tcpPair(t)
		hop, last := connect(t, farClient, farServer, Config{}, Config{Handler: HandlerFunc(far), WindowBytes: 32 << 10})
		relay := func(ctx context.Context, sc *ServerCall) { _ = Relay(ctx, sc, hop) }
		c, _ := connect(t, cnc, snc, Config{}, Config{Handler: HandlerFunc(relay)})

		r, err := c.Call(t.Context(), Request{Op: wire.OpRead, Session: 1, Fence: 3, Body: &message{Number: 4},
			Raw: []byte("raw")})
		var m message
		if err != nil || r.Decode(&m) != nil || m.Number != 4 || string(r.Raw) != "raw" || r.Fence != 3 {
			t.Errorf("got %+v, %+v, %v", r, m, err)
		}
		relayStreamed(t, c)
		if _, err := c.Call(t.Context(), Request{Op: wire.OpVerify, Session: 1}); wire.CodeOf(err) != wire.CodeCorrupt {
			t.Errorf("error through a relay: %v", err)
		}
		s, err := c.Open(t.Context(), Request{Op: wire.OpWait, Session: 1})
		if err != nil {
			t.Fatal(err)
		}
		s.Close()
		if err := c.Drain(t.Context()); err != nil { // the cancelled call ended everywhere
			t.Error(err)
		}
		last.Close()
	})
}

func relayStreamed(t *testing.T, c *Conn) {
	t.Helper()
	s, err := c.Open(t.Context(), Request{Op: wire.OpPut, Session: wire.SessionAppend})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	sent := bytes.Repeat([]byte("relay"), 100_000)
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := errors.Join(s.Send(sent), s.CloseSend()); err != nil {
			t.Error(err)
		}
	})
	got := recvAll(t, s)
	wg.Wait()
	if !bytes.Equal(got, sent) {
		t.Errorf("%d bytes came back as %d others", len(sent), len(got))
	}
}

// A relay whose next hop breaks says whether the request was written.
func TestRelayToDeadHop(t *testing.T) {
	for _, stream := range []bool{false, true} {
		hop, p := dialRaw(t, tcpPair, Config{})
		relay := func(ctx context.Context, sc *ServerCall) { _ = Relay(ctx, sc, hop) }
		cnc, snc := tcpPair(t)
		c, _ := connect(t, cnc, snc, Config{}, Config{Handler: HandlerFunc(relay)})
		do := func() error {
			if !stream {
				_, err := c.Call(t.Context(), unaryRequest)
				return err
			}
			s, err := c.Open(t.Context(), unaryRequest)
			if err != nil {
				return err
			}
			defer s.Close()
			_, err = s.Reply()
			return err
		}
		result := make(chan error, 1)
		go func() { result <- do() }()
		p.read()
		p.nc.Close()
		if err := <-result; wire.CodeOf(err) != wire.CodeConnection || wire.OutcomeOf(err) != wire.Unknown {
			t.Errorf("hop died after the request: %v, outcome %s", err, wire.OutcomeOf(err))
		}
		if err := do(); wire.CodeOf(err) != wire.CodeConnection || wire.OutcomeOf(err) != wire.NotDone {
			t.Errorf("hop was dead before: %v, outcome %s", err, wire.OutcomeOf(err))
		}
	}
}

// The next hop of a relay learns whose call it is: whom the first one knows its peer to be. One that does not
// understand that does not get it.
func TestRelayTellsForWhom(t *testing.T) {
	for _, test := range []struct {
		name          string
		caller, given string
		strip         wire.Features
		want          string
	}{
		{name: "a client", caller: "client/backup", want: "client/backup"},
		{name: "a node that passes on", caller: "node/n1", given: "admin/me", want: "admin/me"},
		{name: "nobody", want: ""},
		{name: "to an older peer", caller: "client/backup", strip: wire.FeatureOnBehalf, want: ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			asked := make(chan string, 1)
			far := func(_ context.Context, sc *ServerCall) {
				var m message
				if err := sc.Decode(&m); err != nil || m.Number != 4 {
					t.Errorf("%+v, %v", m, err)
				}
				asked <- sc.Asker()
				_ = sc.Reply(nil, nil)
			}
			farClient, farServer := tcpPair(t)
			hop, _ := connect(t, farClient, farServer, Config{}, Config{Handler: HandlerFunc(far)})
			hop.agreed.Features &^= test.strip
			relay := func(ctx context.Context, sc *ServerCall) { _ = Relay(ctx, sc, hop) }
			nearClient, nearServer := tcpPair(t)
			c, _ := connect(t, nearClient, nearServer, Config{}, Config{Handler: HandlerFunc(relay), Identity: test.caller})
			if _, err := c.Call(t.Context(), Request{Op: wire.OpSubmit, Session: 5, Body: &message{Number: 4},
				OnBehalf: test.given}); err != nil {
				t.Fatal(err)
			}
			if got := <-asked; got != test.want {
				t.Errorf("asked by %q, want %q", got, test.want)
			}
		})
	}
}
