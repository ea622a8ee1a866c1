package rpcbench

import (
	"context"
	"errors"
	"fmt"
	"time"
)

const (
	// manyCallers is how many callers there are at once.
	manyCallers = 64
	// besideStreams is how many bulk streams a call stands beside.
	besideStreams = 4
	idleConns     = 100
	idleEach      = 100
)

// Row is one measurement. Of Calls, BytesPerSecond and Idle it has one.
type Row struct {
	What           string  `json:"what"`
	Peer           string  `json:"peer"`
	Calls          *Calls  `json:"calls,omitempty"`
	BytesPerSecond float64 `json:"bytes_per_second,omitempty"`
	Idle           *Idle   `json:"idle,omitempty"`
	// Ratio compares with another row of the same run: Of says what with. 0: there is nothing to compare with.
	Ratio float64 `json:"ratio,omitempty"`
	Of    string  `json:"ratio_of,omitempty"`
}

// suite is a run of all measurements.
type suite struct {
	start Starter
	each  time.Duration
	row   func(Row) error
}

// Run measures calls, streams, calls beside streams and idle calls, each for the given time, and hands every row
// to row as soon as it is there.
func Run(ctx context.Context, start Starter, each time.Duration, row func(Row) error) error {
	s := suite{start, each, row}
	for _, step := range []func(context.Context) error{
		func(ctx context.Context) error { return s.calls(ctx, manyCallers) },
		func(ctx context.Context) error { return s.calls(ctx, 1) },
		func(ctx context.Context) error { return s.streams(ctx, "stream", "io-copy", "datanode") },
		func(ctx context.Context) error {
			return s.streams(ctx, "stream over TLS", "crypto-tls", "datanode-tls")
		},
		s.beside, s.idle,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// with runs measure against a server of the peer.
func (s *suite) with(ctx context.Context, name string, measure func(Peer, *Server) error) error {
	p, ok := Find(Peers(), name)
	if !ok {
		return fmt.Errorf("there is no peer %q", name)
	}
	server, err := s.start(ctx, name)
	if err != nil {
		return fmt.Errorf("start the server of %s: %w", name, err)
	}
	if err := errors.Join(measure(p, server), server.Close()); err != nil {
		return fmt.Errorf("measure %s: %w", name, err)
	}
	return nil
}

func (s *suite) calls(ctx context.Context, callers int) error {
	var other float64
	for _, name := range []string{"net-rpc", "datanode"} {
		err := s.with(ctx, name, func(p Peer, server *Server) error {
			c, err := MeasureCalls(ctx, p, server, callers, Limit{For: s.each})
			if err != nil {
				return err
			}
			row := Row{What: plural(callers, "caller"), Peer: name, Calls: &c}
			if other > 0 {
				row.Ratio, row.Of = c.PerSecond/other, "calls/s of net-rpc"
			}
			other = c.PerSecond
			return s.row(row)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *suite) streams(ctx context.Context, what string, names ...string) error {
	var other float64
	for _, name := range names {
		err := s.with(ctx, name, func(p Peer, server *Server) error {
			rate, err := MeasureStream(ctx, p, server, s.each)
			if err != nil {
				return err
			}
			row := Row{What: what, Peer: name, BytesPerSecond: rate}
			if other > 0 {
				row.Ratio, row.Of = rate/other, "bytes/s of "+names[0]
			}
			other = rate
			return s.row(row)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// beside compares a call that has the connection to itself with one beside streams, in a session of its own and,
// as control, in theirs.
func (s *suite) beside(ctx context.Context) error {
	var alone time.Duration
	for _, b := range []struct {
		what    string
		streams int
		shared  bool
	}{
		{"1 caller beside nothing", 0, false},
		{"beside 1 stream", 1, false},
		{fmt.Sprintf("beside %d streams", besideStreams), besideStreams, false},
		{fmt.Sprintf("beside %d streams, in their session", besideStreams), besideStreams, true},
	} {
		err := s.with(ctx, "datanode", func(_ Peer, server *Server) error {
			c, err := MeasureBeside(ctx, server, b.streams, b.shared, Limit{For: s.each})
			if err != nil {
				return err
			}
			row := Row{What: b.what, Peer: "datanode", Calls: &c}
			if alone > 0 {
				row.Ratio, row.Of = float64(c.P99)/float64(alone), "p99 beside nothing"
			} else {
				alone = c.P99
			}
			return s.row(row)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *suite) idle(ctx context.Context) error {
	return s.with(ctx, "datanode", func(_ Peer, server *Server) error {
		idle, err := MeasureIdle(ctx, server, idleConns, idleEach)
		if err != nil {
			return err
		}
		return s.row(Row{What: fmt.Sprintf("%d idle calls on %d connections", idleConns*idleEach, idleConns),
			Peer: "datanode", Idle: &idle})
	})
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
