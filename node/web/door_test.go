package web

import (
	"net"
	"net/http"
	"testing"
)

// Those that are busy are not closed for others.
func TestDoor(t *testing.T) {
	d := newDoor(nil)
	var held []*conn
	for range maxConnsPerAddr {
		nc, other := net.Pipe()
		t.Cleanup(func() { other.Close() })
		c := d.enter(nc)
		d.state(c, http.StateActive)
		held = append(held, c)
	}
	nc, _ := net.Pipe()
	if d.enter(nc) != nil {
		t.Fatal("one more is let in while all are busy")
	}
	d.state(held[3], http.StateIdle)
	d.state(held[1], http.StateIdle)
	if d.enter(nc) == nil || !held[3].left || held[1].left {
		t.Error("the one that was idle for longest does not make room")
	}
	for _, c := range held {
		c.Close()
		c.Close()
	}
	if d.count() != 1 || d.waiting.Len() != 1 {
		t.Errorf("%d connections are left, %d of them idle, want 1", d.count(), d.waiting.Len())
	}
}
