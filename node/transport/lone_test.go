package transport

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/datanode/datanode/pki"
	"github.com/datanode/datanode/pki/pkitest"
	"github.com/datanode/datanode/wire/mux"
)

// patience bounds every wait of these tests. It is long because the machine may be busy; nothing waits for it that
// goes well.
const patience = 90 * time.Second

// lone is a transport without a node behind it, with a short deadline and a clock on which nothing comes to pass,
// unless its options say otherwise.
func lone(t *testing.T, o Options) *Transport {
	t.Helper()
	inner, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o.Listener = inner
	if o.FirstByte == 0 {
		o.FirstByte = 50 * time.Millisecond
	}
	if o.Clock.AfterFunc == nil {
		o.Clock = mux.Clock{Now: time.Now, AfterFunc: func(time.Duration, func()) func() bool {
			return func() bool { return true }
		}}
	}
	l := New(t.Context(), o)
	l.Run()
	t.Cleanup(func() { l.Stop(); l.Wait() })
	return l
}

// sourced are options with a node's certificate, or without.
func sourced(t *testing.T, secure bool) (o Options) {
	if secure {
		o.Source = pkitest.New(t, "cell").Source(pki.RoleNode, "n1")
	}
	return o
}

// untilTrue waits for what no event tells of.
func untilTrue(t *testing.T, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for !ok() {
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			t.Fatalf("%s: not true in time", what)
		}
	}
}
