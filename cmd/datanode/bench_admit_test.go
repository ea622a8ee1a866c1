package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/datanode/datanode/cmd/datanode/internal/policyhost"
	"github.com/datanode/datanode/node"
	"github.com/datanode/datanode/node/modules"
	"github.com/datanode/datanode/plugins"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/client"
)

const (
	admitAtOnce = 256
	admitters   = 4 // clients that share them, since a request carries 64
)

// BenchmarkAdmit admits 256 deletes at once, in turns to a node that is decided by the native default and to one
// that is decided by the same rules as a module, disks included. %-longer is the median over all turns.
func BenchmarkAdmit(b *testing.B) {
	host, err := policyhost.New(b.Context(), slog.New(slog.DiscardHandler), "")
	if err != nil {
		b.Fatal(err)
	}
	defer host.Close(context.Background())
	native, module := admitNode(b, nil), admitNode(b, policyhost.For(host))
	var without, with, ratios []float64
	for turn := 0; b.Loop(); turn++ {
		var n, m float64
		if turn%2 == 0 { // what the one leaves to the disk falls on the other
			n, m = admitDeletes(b, native), admitDeletes(b, module)
		} else {
			m, n = admitDeletes(b, module), admitDeletes(b, native)
		}
		without, with, ratios = append(without, n), append(with, m), append(ratios, m/n)
	}
	middle := func(v []float64) float64 {
		slices.Sort(v)
		return v[len(v)/2]
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(middle(without), "native-µs")
	b.ReportMetric(middle(with), "wasm-µs")
	b.ReportMetric(100*(middle(ratios)-1), "%-longer")
}

// admitNode starts a cell of one node, and gives clients of it.
func admitNode(b *testing.B, policies modules.Host) []*client.Client {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	addr := l.Addr().String()
	cfg := node.Config{
		ID: "n1", Dir: b.TempDir(), Listener: l, Listen: addr, Bootstrap: []node.Peer{{ID: "n1", Addr: addr}}, Fast: true,
		Version:  "bench",
		Settings: map[string]string{"replicas": "1"}, Logger: slog.New(slog.DiscardHandler),
	}
	if policies != nil {
		cfg.Policies, cfg.DefaultModule = policies, plugins.Default()
	}
	n, err := node.Start(b.Context(), cfg)
	if err != nil {
		b.Fatal(err)
	}
	clients := make([]*client.Client, admitters)
	for i := range clients {
		clients[i] = client.New(client.Options{Addrs: []string{addr}, Name: b.Name()})
	}
	b.Cleanup(func() {
		for _, c := range clients {
			c.Close()
		}
		if err := n.Close(); err != nil {
			b.Error(err)
		}
	})
	for up := 0; up == 0; { // it takes extents once it has heard of itself
		if s, err := clients[0].StatusOf(b.Context(), addr); err == nil {
			up = s.Up
		}
	}
	return clients
}

// admitDeletes makes extents, and answers how many microseconds it takes to have their deletes admitted.
func admitDeletes(b *testing.B, clients []*client.Client) float64 {
	creates := make([]wire.Submission, admitAtOnce)
	for i := range creates {
		creates[i] = wire.Submission{Kind: "create"}
	}
	created := admitAll(b, clients, creates)
	deletes := make([]wire.Submission, admitAtOnce)
	for i, s := range created {
		deletes[i] = wire.Submission{Kind: "delete", Extent: s.Extent}
	}
	awaitAll(b, clients, created)
	begin := time.Now()
	deleted := admitAll(b, clients, deletes)
	took := time.Since(begin)
	awaitAll(b, clients, deleted)
	return float64(took.Microseconds())
}

func admitAll(b *testing.B, clients []*client.Client, subs []wire.Submission) []wire.Submitted {
	answers := make([][]wire.Submitted, len(clients))
	errs := make([]error, len(clients))
	each := len(subs) / len(clients)
	var wg sync.WaitGroup
	for i, c := range clients {
		wg.Go(func() { answers[i], errs[i] = c.Submit(b.Context(), subs[i*each:(i+1)*each], client.SubmitOptions{}) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		b.Fatal(err)
	}
	all := slices.Concat(answers...)
	for _, a := range all {
		if a.Code != 0 {
			b.Fatalf("refused: %s", a.Detail)
		}
	}
	return all
}

func awaitAll(b *testing.B, clients []*client.Client, submitted []wire.Submitted) {
	ids := make([]string, len(submitted))
	for i, s := range submitted {
		ids[i] = s.Op
	}
	ops, err := clients[0].Wait(b.Context(), ids, nil)
	if err != nil {
		b.Fatal(err)
	}
	for _, o := range ops {
		if o.State != "done" {
			b.Fatalf("%s of extent %d ended as %s: %s", o.Kind, o.Extent, o.State, o.Detail)
		}
	}
}
