package bare

import (
	"sync"
	"testing"
)

// Both ways bring every call's bytes into the log of a majority, and after the end all are refused.
func TestCell(t *testing.T) {
	c, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Alone(nil); err != nil { // behind what the leader begins its term with
		t.Fatal(err)
	}
	before := c.leader.LastIndex()
	const calls = 20
	for range calls {
		if err := c.Alone([]byte("alone")); err != nil {
			t.Fatal(err)
		}
	}
	if got := c.leader.LastIndex() - before; got != calls {
		t.Errorf("%d calls alone made %d entries", calls, got)
	}
	before = c.leader.LastIndex()
	var all sync.WaitGroup
	for range calls {
		all.Go(func() {
			if err := c.Together([]byte("together")); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if got := c.leader.LastIndex() - before; got < 1 || got > calls {
		t.Errorf("%d calls together made %d entries", calls, got)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if c.Alone(nil) == nil || c.Together(nil) == nil {
		t.Error("a closed cell takes calls")
	}
}
