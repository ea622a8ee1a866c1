package connlimit

import (
	"fmt"
	"testing"
)

// What clients may have is counted without nodes; who comes beyond it is heard until it says who it is, a few at once;
// nodes have a bound, too.
func TestConnectionReserve(t *testing.T) {
	c := New(Options{MayBeNode: func(machine string) bool { return machine != "10.0.0.7" }})
	come := func(ip string) *fakeConn {
		nc := &fakeConn{from: fmt.Sprintf("%s:1", ip)}
		c.Add(nc)
		return nc
	}
	is := func(what string, want Crowd) {
		t.Helper()
		if now := c.Crowd(); now != want {
			t.Errorf("%s: %+v, want %+v", what, now, want)
		}
	}
	for range MaxConnsPerAddr {
		c.Greeted(come("10.0.0.1"), "")
		c.Greeted(come("10.0.0.7"), "")
	}
	is("full", Crowd{All: 2 * MaxConnsPerAddr, AllOfOne: MaxConnsPerAddr})
	if late := come("10.0.0.1"); late.closed || c.Greeted(late, "") {
		t.Error("one more client has found room")
	} else {
		c.Remove(late)
	}
	if !come("10.0.0.7").closed {
		t.Error("one more is taken from where no node can be")
	}
	is("refused", Crowd{All: 2 * MaxConnsPerAddr, AllOfOne: MaxConnsPerAddr, Refused: 2})
	var nodes []*fakeConn
	for range MaxConnsPerNode {
		nodes = append(nodes, come("10.0.0.1"))
		if !c.Greeted(nodes[len(nodes)-1], "n2") {
			t.Fatal("a node finds no room")
		}
	}
	if more := come("10.0.0.1"); c.Greeted(more, "n2") {
		t.Errorf("more than %d of one node", MaxConnsPerNode)
	} else {
		c.Remove(more)
	}
	want := Crowd{All: 2 * MaxConnsPerAddr, AllOfOne: MaxConnsPerAddr, Refused: 3, Nodes: MaxConnsPerNode}
	is("with a node", want)
	first := come("10.0.0.1")
	for range maxGatePerAddr {
		come("10.0.0.1")
	}
	if !first.closed || c.kept.gate.Len() != maxGatePerAddr {
		t.Errorf("closed %t, %d at the gate; want the oldest closed of %d", first.closed, c.kept.gate.Len(), maxGatePerAddr)
	}
	for nc := range c.conns {
		c.Remove(nc)
	}
	if is("in the end", Crowd{Refused: 4}); len(c.from) != 0 || len(c.kept.ofNode) != 0 || c.kept.gate.Len() != 0 {
		t.Errorf("left: %v, %v, %d at the gate", c.from, c.kept.ofNode, c.kept.gate.Len())
	}
}
