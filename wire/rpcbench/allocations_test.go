//go:build !race

package rpcbench

import "testing"

// Under the race detector sync.Pool drops a quarter of what it is given, at random, so that nothing can be said there.

// TestAllocations counts what a call allocates on both sides, in whole processes: the promise is two on each.
func TestAllocations(t *testing.T) {
	s, err := starter(t.Context(), "datanode")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	p, _ := Find(Peers(), "datanode")
	c, err := MeasureCalls(t.Context(), p, s, 1, Limit{Calls: 5000})
	if err != nil {
		t.Fatal(err)
	}
	const most = 2.05 // the runtime itself allocates now and then
	if c.ClientAllocs > most || c.ServerAllocs > most {
		t.Errorf("a call allocates %.2f objects on the client and %.2f on the server, want 2 at most", c.ClientAllocs,
			c.ServerAllocs)
	}
	t.Logf("%.2f on the client, %.2f on the server", c.ClientAllocs, c.ServerAllocs)
}
