package main

import (
	"context"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/datanode/datanode/cmd/datanode/internal/clitest"
	"github.com/datanode/datanode/cmd/datanode/internal/policyhost"
	"github.com/datanode/datanode/node"
	"github.com/datanode/datanode/plugins"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/client"
)

// hoursPatience bounds each wait. Nothing waits for it to pass.
const hoursPatience = 3 * time.Minute

// hoursCell is a cell of one node whose clock is set by hand. A move waits in it for ever: there is no other
// node to move to.
type hoursCell struct {
	t     *testing.T
	c     *client.Client
	cfg   node.Config
	node  *node.Node
	clock atomic.Int64 // ahead of the real one by so many nanoseconds
}

func newHoursCell(t *testing.T) *hoursCell {
	host, err := policyhost.New(t.Context(), nil, "")
	clitest.Must(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	clitest.Must(t, err)
	addr := l.Addr().String()
	h := &hoursCell{t: t, c: client.New(client.Options{Addrs: []string{addr}, Name: t.Name()})}
	h.cfg = node.Config{
		ID: "n1", Dir: t.TempDir(), Listener: l, Listen: addr, Bootstrap: []node.Peer{{ID: "n1", Addr: addr}}, Fast: true,
		Version:  "test",
		Settings: map[string]string{"replicas": "1"}, Logger: slog.New(slog.DiscardHandler),
		Policies: policyhost.For(host), DefaultModule: plugins.Default(),
	}
	h.cfg.Clock.Now = func() time.Time { return time.Now().Add(time.Duration(h.clock.Load())) }
	t.Cleanup(func() {
		h.c.Close()
		clitest.Must(t, h.node.Close())
		clitest.Must(t, host.Close(context.WithoutCancel(t.Context())))
	})
	return h
}

func (h *hoursCell) start() {
	h.t.Helper()
	n, err := node.Start(h.t.Context(), h.cfg)
	clitest.Must(h.t, err)
	h.node, h.cfg.Listener = n, nil
	<-n.Ready()
	for up := 0; up == 0; { // it takes extents once it has heard of itself
		s, err := h.c.Status(h.t.Context())
		clitest.Must(h.t, err)
		up = s.Up
	}
	h.compiled()
}

// compiled waits until the node could run every policy of the cell.
func (h *hoursCell) compiled() {
	h.t.Helper()
	for all := false; !all; {
		reply, err := h.c.Policies(h.t.Context())
		clitest.Must(h.t, err)
		all = !slices.ContainsFunc(reply.Policies, func(p wire.Policy) bool { return len(p.Compiled) == 0 })
	}
}

// set makes it so late on some day after now.
func (h *hoursCell) set(days int, clock string) {
	h.t.Helper()
	at, err := time.Parse("15:04", clock)
	clitest.Must(h.t, err)
	day := time.Now().UTC().Truncate(24*time.Hour).AddDate(0, 0, days)
	h.clock.Store(int64(time.Until(day.Add(at.Sub(at.Truncate(24 * time.Hour))))))
}

// becomes waits until an operation is decided for a reason, with a priority of low to high.
func (h *hoursCell) becomes(op, reason string, low, high int32) {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), hoursPatience)
	defer cancel()
	var d wire.Decision
	for d.Reason != reason || d.Priority < low || d.Priority > high {
		o, err := h.c.Op(ctx, op)
		if err != nil {
			h.t.Fatalf("%v; the move has priority %d: %s; want %d to %d: %s", err, d.Priority, d.Reason, low, high, reason)
		}
		d = o.Decision
	}
	if d.Policy != "quiet-hours 1" || d.Config["from"] != "12" || d.Fallback != "" {
		h.t.Errorf("decided by %s with %v, fallback %q", d.Policy, d.Config, d.Fallback)
	}
}

// A move that was admitted in the hours that are configured to be quiet gets its place when they end. In those
// of the next day it has waited for long enough, and the configuration has outlasted a restart.
func TestQuietHoursEnd(t *testing.T) {
	const busy, even = "clients are busy: copying goes last", "moves even out"
	h := newHoursCell(t)
	h.set(1, "12:30")
	h.start()
	module, err := os.ReadFile("../../examples/policies/quiet-hours/quiet-hours.wasm")
	clitest.Must(t, err)
	if _, err := h.c.PolicyLoadWith(t.Context(), module,
		map[string]string{"form": "12"}); wire.CodeOf(err) != wire.CodeInvalid ||
		!strings.Contains(err.Error(), "the policy knows from, to") {
		t.Errorf("a key that the policy does not know: %v", err)
	}
	p, err := h.c.PolicyLoadWith(t.Context(), module, map[string]string{"from": "12", "to": "13"})
	clitest.Must(t, err)
	_, err = h.c.PolicyActivate(t.Context(), p.Digest)
	clitest.Must(t, err)

	loc, err := h.c.Put(t.Context(), strings.NewReader("some bytes"), client.PutOptions{})
	clitest.Must(t, err)
	o := ordering{t: t, c: h.c}
	o.submit([]wire.Submission{{Kind: "seal", Extent: loc.Extent}})
	answers, err := h.c.Submit(t.Context(), []wire.Submission{{Kind: "move", Extent: loc.Extent, Node: "n1"}},
		client.SubmitOptions{})
	clitest.Must(t, err)
	clitest.Must(t, client.Refusal(answers[0]))
	move := answers[0].Op
	h.becomes(move, busy, -9000, -8900)

	h.set(1, "13:01") // by its own defaults the policy would call this busy too
	h.becomes(move, even, 1000, 12000)
	clitest.Must(t, h.node.Close())
	h.set(2, "12:30")
	h.start()
	h.becomes(move, busy, 1800, 1800)
}
