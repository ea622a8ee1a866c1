package bench

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"

	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

const chunkBytes = 256 << 10

// streamOut sends chunks until the caller has had enough.
func streamOut(c *mux.ServerCall) {
	p := make([]byte, chunkBytes)
	for c.Send(p) == nil {
	}
}

// BenchmarkStream: one bulk stream of a call, checksums on, beside a plain copy over the same kind of
// connection in this process.
func BenchmarkStream(b *testing.B) {
	b.Run("datanode", benchStream)
	b.Run("io-copy", benchCopy)
}

func benchStream(b *testing.B) {
	conn, err := muxConn(b.Context(), start(b, "datanode"))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { conn.Close() })
	s, err := conn.Open(b.Context(), mux.Request{Op: wire.OpRead, Session: wire.SessionRepair})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	b.SetBytes(chunkBytes)
	b.ReportAllocs()
	b.ResetTimer()
	for read := 0; read < b.N*chunkBytes; {
		p, err := s.Recv()
		if err != nil {
			b.Fatal(err)
		}
		read += len(p)
	}
}

func benchCopy(b *testing.B) {
	nc, err := net.Dial("tcp", start(b, "copy"))
	if err != nil {
		b.Fatal(err)
	}
	defer nc.Close()
	b.SetBytes(chunkBytes)
	b.ResetTimer()
	if n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, io.LimitReader(nc, int64(b.N)*chunkBytes), make([]byte, chunkBytes)); err != nil || n != int64(b.N)*chunkBytes {
		b.Fatal(n, err)
	}
}

// serveCopy writes to each connection until it breaks.
func serveCopy(l net.Listener) {
	for {
		nc, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			p := make([]byte, chunkBytes)
			for {
				if _, err := nc.Write(p); err != nil {
					return
				}
			}
		}()
	}
}

// BenchmarkCallBesideStream: a client's call while a repair saturates the same connection.
func BenchmarkCallBesideStream(b *testing.B) {
	for _, name := range []string{"alone", "beside"} {
		b.Run(name, func(b *testing.B) {
			conn, err := muxConn(b.Context(), start(b, "datanode"))
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { conn.Close() })
			if name == "beside" {
				saturate(b, conn)
			}
			call := func(ctx context.Context, payload []byte) error {
				r, err := conn.Call(ctx, mux.Request{Op: wire.OpReplicaAppend, Session: wire.SessionClient, Raw: payload})
				if err != nil {
					return err
				}
				return checkLength(len(r.Raw), answerBytes)
			}
			b.ResetTimer()
			took := run(b, []caller{call})
			b.StopTimer()
			report(b, took)
		})
	}
}

// saturate reads a bulk stream as fast as it comes, until the benchmark ends.
func saturate(b *testing.B, conn *mux.Conn) {
	ctx, cancel := context.WithCancel(b.Context())
	s, err := conn.Open(ctx, mux.Request{Op: wire.OpRead, Session: wire.SessionRepair})
	if err != nil {
		b.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			if _, err := s.Recv(); err != nil {
				if !errors.Is(err, context.Canceled) && !errors.Is(err, io.EOF) && ctx.Err() == nil {
					b.Error(err)
				}
				return
			}
		}
	}()
	b.Cleanup(func() { cancel(); <-done; s.Close() })
}
