package rpcbench

import (
	"context"
	"errors"
	"sync"

	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// MeasureBeside makes calls of the client session, one after the other, while as many streams of the repair
// session as given are read from the same connection as fast as they come. With shared set the calls are in
// the session of the streams: what sessions are good for is the difference.
func MeasureBeside(ctx context.Context, s *Server, streams int, shared bool, limit Limit) (Calls, error) {
	conn, err := connect(ctx, dial, s.Addr)
	if err != nil {
		return Calls{}, err
	}
	defer func() { _ = conn.Close() }() // the measurement is over
	stop, err := saturate(ctx, conn, streams)
	if err != nil {
		return Calls{}, err
	}
	session := wire.SessionClient
	if shared {
		session = wire.SessionRepair
	}
	result, err := measure(ctx, s, []Caller{callIn(conn, session)}, limit)
	return result, errors.Join(err, stop())
}

// saturate reads streams until stop is called, which answers why any of them ended before.
func saturate(ctx context.Context, conn *mux.Conn, streams int) (stop func() error, err error) {
	ctx, cancel := context.WithCancel(ctx)
	errs := make([]error, streams)
	var wg sync.WaitGroup
	for i := range streams {
		st, err := conn.Open(ctx, mux.Request{Op: wire.OpRead, Session: wire.SessionRepair})
		if err != nil {
			cancel()
			wg.Wait()
			return nil, err
		}
		wg.Go(func() {
			defer st.Close()
			for ctx.Err() == nil {
				if _, err := st.Recv(); err != nil && ctx.Err() == nil {
					errs[i] = err
					return
				}
			}
		})
	}
	return func() error {
		cancel()
		wg.Wait()
		return errors.Join(errs...)
	}, nil
}

// Idle is what open calls on open connections take, in bytes.
type Idle struct {
	Client uint64 `json:"client_bytes"`
	Server uint64 `json:"server_bytes"`
}

// MeasureIdle opens conns connections to a datanode server and each calls with a chunk exchanged, which then do
// nothing, and answers by how much heap and stacks have grown.
func MeasureIdle(ctx context.Context, s *Server, conns, each int) (Idle, error) {
	serverBefore, err := s.ask(askMemory)
	if err != nil {
		return Idle{}, err
	}
	clientBefore := memory()
	var open closers
	defer func() { _ = open.Close() }() // the measurement is over
	for range conns {
		conn, err := connect(ctx, dial, s.Addr)
		if err != nil {
			return Idle{}, err
		}
		open = append(open, conn)
		for i := range each {
			// Every class of work in turn, so that each session of the connection is in use.
			session := wire.SessionClient + wire.Session(i)%wire.SessionControl
			st, err := conn.Open(ctx, mux.Request{Op: wire.OpStatus, Session: session})
			if err != nil {
				return Idle{}, err
			}
			if err := st.Send(make([]byte, PayloadBytes)); err != nil {
				return Idle{}, err
			}
			open = append(open, streamCloser{st})
		}
		// The server reads frames in order: once this is answered, it has all those calls.
		if err := callIn(conn, wire.SessionControl)(ctx, make([]byte, PayloadBytes)); err != nil {
			return Idle{}, err
		}
	}
	serverAfter, err := s.ask(askMemory)
	return Idle{Client: grown(clientBefore, memory()), Server: grown(serverBefore, serverAfter)}, err
}

func grown(before, after uint64) uint64 { return max(after, before) - before }
