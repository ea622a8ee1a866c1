package transport

import (
	"context"
	"net"
	"strings"
	"testing"

	"github.com/datanode/datanode/wire/mux"
)

// A node without a certificate that wants to join a cell that speaks TLS is only ever hung up on. Its log says what
// that may mean.
func TestHangUpNamesTLS(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if nc, err := l.Accept(); err == nil {
			nc.Close()
		}
	}()
	defer func() { l.Close(); <-done }()
	dial := func(ctx context.Context, addr string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", addr)
	}
	o := Options{Dial: dial, DialLimit: patience}.withDefaults()
	p := newPeers(t.Context(), &o, nil, newConnTable(o.IsNode), func() mux.Config { return mux.Config{} })
	defer p.close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_, err = p.conn(ctx, "", l.Addr().String())
	if err == nil || !strings.Contains(err.Error(), "--tls-cert") {
		t.Errorf("%v, want an error that names --tls-cert", err)
	}
}
