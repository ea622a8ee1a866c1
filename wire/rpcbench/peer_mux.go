package rpcbench

import (
	"context"
	"fmt"
	"io"
	"net"

	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

type dialer func(ctx context.Context, addr string) (net.Conn, error)

func dial(ctx context.Context, addr string) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, "tcp", addr)
}

// serveMux answers a read with chunks until the caller has had enough, takes the chunks of a status until it is
// given up, and answers all else with the beginning of the request.
func serveMux(l net.Listener) {
	h := mux.HandlerFunc(func(_ context.Context, c *mux.ServerCall) {
		switch c.Op() {
		case wire.OpRead:
			p := make([]byte, ChunkBytes)
			for c.Send(p) == nil {
			}
		case wire.OpStatus:
			for err := error(nil); err == nil; {
				_, err = c.Recv()
			}
		default:
			_ = c.Reply(nil, c.Raw()[:AnswerBytes]) // fails with the connection
		}
	})
	for {
		nc, err := l.Accept()
		if err != nil {
			return
		}
		go acceptMux(nc, h)
	}
}

func acceptMux(nc net.Conn, h mux.Handler) {
	var first [1]byte
	if _, err := io.ReadFull(nc, first[:]); err != nil {
		_ = nc.Close()
		return
	}
	_, _ = mux.Server(context.Background(), nc, mux.Config{Handler: h}) // the client reports the same
}

func connect(ctx context.Context, dial dialer, addr string) (*mux.Conn, error) {
	nc, err := dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	return mux.Client(ctx, nc, mux.Config{})
}

func callMux(dial dialer) func(context.Context, string) (Caller, io.Closer, error) {
	return func(ctx context.Context, addr string) (Caller, io.Closer, error) {
		conn, err := connect(ctx, dial, addr)
		if err != nil {
			return nil, nil, err
		}
		return callIn(conn, wire.SessionClient), conn, nil
	}
}

func callIn(conn *mux.Conn, s wire.Session) Caller {
	return func(ctx context.Context, payload []byte) error {
		r, err := conn.Call(ctx, mux.Request{Op: wire.OpReplicaAppend, Session: s, Raw: payload})
		if err != nil {
			return err
		}
		return CheckAnswer(len(r.Raw))
	}
}

// CheckAnswer reports whether an answer of n bytes is one.
func CheckAnswer(n int) error {
	if n != AnswerBytes {
		return fmt.Errorf("answer of %d bytes, want %d", n, AnswerBytes)
	}
	return nil
}

func streamMux(dial dialer) func(context.Context, string) (Reader, io.Closer, error) {
	return func(ctx context.Context, addr string) (Reader, io.Closer, error) {
		conn, err := connect(ctx, dial, addr)
		if err != nil {
			return nil, nil, err
		}
		s, err := conn.Open(ctx, mux.Request{Op: wire.OpRead, Session: wire.SessionRepair})
		if err != nil {
			_ = conn.Close() // the first error says more
			return nil, nil, err
		}
		return func() (int, error) {
			p, err := s.Recv()
			return len(p), err
		}, closers{streamCloser{s}, conn}, nil
	}
}

type streamCloser struct{ *mux.Stream }

func (s streamCloser) Close() error { s.Stream.Close(); return nil }

// closers closes all, in their order.
type closers []io.Closer

func (cs closers) Close() error {
	var first error
	for _, c := range cs {
		if err := c.Close(); first == nil {
			first = err
		}
	}
	return first
}
