package rpcbench

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/rpc"
	"time"

	"github.com/datanode/datanode/pki"
)

// Bench is the service of net/rpc.
type Bench struct{}

// Call answers the beginning of what it is asked with.
func (Bench) Call(in []byte, out *[]byte) error { *out = in[:AnswerBytes]; return nil }

func serveNetRPC(l net.Listener) {
	s := rpc.NewServer()
	if err := s.Register(Bench{}); err != nil {
		return // Bench has the one method that is needed
	}
	for {
		nc, err := l.Accept()
		if err != nil {
			return
		}
		go s.ServeConn(nc)
	}
}

func callNetRPC(_ context.Context, addr string) (Caller, io.Closer, error) {
	c, err := rpc.Dial("tcp", addr)
	if err != nil {
		return nil, nil, err
	}
	return func(_ context.Context, payload []byte) error {
		var out []byte
		if err := c.Call("Bench.Call", payload, &out); err != nil {
			return err
		}
		return CheckAnswer(len(out))
	}, c, nil
}

// serveCopy writes to each connection until it breaks.
func serveCopy(l net.Listener) {
	for {
		nc, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			p := make([]byte, ChunkBytes)
			for err := error(nil); err == nil; {
				_, err = nc.Write(p)
			}
			_ = nc.Close() // it is broken
		}()
	}
}

// streamCopy reads as io.Copy would do, into a buffer of a chunk.
func streamCopy(dial dialer) func(context.Context, string) (Reader, io.Closer, error) {
	return func(ctx context.Context, addr string) (Reader, io.Closer, error) {
		nc, err := dial(ctx, addr)
		if err != nil {
			return nil, nil, err
		}
		p := make([]byte, ChunkBytes)
		return func() (int, error) { return nc.Read(p) }, nc, nil
	}
}

// wrap makes a TLS connection of one that was accepted or dialed.
type wrap func(nc net.Conn, config *tls.Config) net.Conn

func productServer(nc net.Conn, config *tls.Config) net.Conn { return pki.NewServer(nc, config) }
func productClient(nc net.Conn, config *tls.Config) net.Conn { return pki.NewClient(nc, config) }
func plainServer(nc net.Conn, config *tls.Config) net.Conn   { return tls.Server(nc, config) }
func plainClient(nc net.Conn, config *tls.Config) net.Conn   { return tls.Client(nc, config) }

// overTLS serves the same over TLS 1.3, with a certificate that nobody checks.
func overTLS(serve func(net.Listener), server wrap) func(net.Listener) {
	return func(l net.Listener) {
		cert, err := certificate()
		if err != nil {
			_ = l.Close() // dialing shows it
			return
		}
		serve(tlsListener{l, server, &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{cert}}})
	}
}

type tlsListener struct {
	net.Listener
	server wrap
	config *tls.Config
}

func (l tlsListener) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return l.server(nc, l.config), nil
}

func certificate() (tls.Certificate, error) {
	_, pair, err := pki.NewAuthority("bench", time.Now())
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.X509KeyPair(pair.Cert, pair.Key)
}

func dialTLS(client wrap) dialer {
	return func(ctx context.Context, addr string) (net.Conn, error) {
		nc, err := dial(ctx, addr)
		if err != nil {
			return nil, err
		}
		config := &tls.Config{MinVersion: tls.VersionTLS13,
			InsecureSkipVerify: true} //nolint:gosec // it is the bytes that are measured
		return client(nc, config), nil
	}
}
