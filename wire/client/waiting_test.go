package client

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// A call that goes unanswered says whom it waits for and what was answered before, and when that is over.
func TestWaitingIsSaid(t *testing.T) {
	cell := newFakeCell()
	without, silent := cell.node(t, "n1"), cell.node(t, "n2")
	without.set(unavailable, nil)
	asked, answer := make(chan struct{}), make(chan struct{})
	silent.set(func(context.Context, *mux.ServerCall) error { close(asked); <-answer; return nil }, nil)
	quiet := make(chan func(), 1)
	var said []string
	c := New(Options{
		Addrs: []string{without.addr(), silent.addr()}, Waiting: func(what string) { said = append(said, what) },
		Clock: mux.Clock{AfterFunc: func(d time.Duration, f func()) func() bool {
			if d == quietFor {
				select {
				case quiet <- f:
				default:
				}
				return func() bool { return true }
			}
			return time.AfterFunc(d, f).Stop
		}},
	})
	defer c.Close()
	done := make(chan error, 1)
	go func() { _, err := c.Status(t.Context()); done <- err }()
	<-asked
	(<-quiet)() // two seconds of silence
	close(answer)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if len(said) != 2 || said[1] != "" || !strings.Contains(said[0], silent.addr()+" has not answered yet") ||
		!strings.Contains(said[0], without.addr()+": ") {
		t.Errorf("said %q", said)
	}
}

// Nothing is said of a call that is answered in time, nor of a wait, which is meant to be long.
func TestNothingIsSaidInTime(t *testing.T) {
	cell := newFakeCell()
	n := cell.node(t, "n1")
	var asked []time.Duration
	c := New(Options{
		Addrs: []string{n.addr()}, Waiting: func(what string) { t.Errorf("said %q", what) },
		Clock: mux.Clock{AfterFunc: func(d time.Duration, f func()) func() bool {
			asked = append(asked, d)
			return time.AfterFunc(time.Hour, f).Stop
		}},
	})
	defer c.Close()
	if _, err := c.Status(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(asked, quietFor) {
		t.Errorf("the client looks at no silence: %v", asked)
	}
	if c.wait(wire.OpWait) != nil {
		t.Error("a wait is watched over")
	}
}
