package node

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/datanode/datanode/wire"
)

// Whoever has put much into the queue waits behind its own, and not the others behind that.
func TestFairQueue(t *testing.T) {
	q := fairQueue[string]{most: 10, mostEach: 6}
	leave := map[string]func() bool{}
	push := func(items ...string) {
		for _, item := range items {
			if leave[item] = q.push(item[:1], item); leave[item] == nil {
				t.Errorf("no room for %s", item)
			}
		}
	}
	take := func(n int, may func(string) bool) string {
		var got []string
		for range n {
			_, item, ok := q.next(may)
			if !ok {
				break
			}
			got = append(got, item)
		}
		return strings.Join(got, " ")
	}
	is := func(what, got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("%s: got %q, want %q", what, got, want)
		}
	}
	push("e1", "e2", "e3", "e4", "e5", "b1", "b2", "c1")
	is("in turn", take(4, nil), "e1 b1 c1 e2")
	push("d1")
	is("who comes later has the next turn but those before", take(3, nil), "b2 e3 d1")
	push("b3")
	is("without who may not", take(3, func(s string) bool { return s != "e" }), "b3")
	if !leave["e4"]() || leave["e4"]() || leave["e1"]() {
		t.Error("who waits can leave once, who had its turn cannot")
	}
	is("without who has left", take(9, nil), "e5")
	if q.size != 0 || len(q.lines) != 0 || q.order.Len() != 0 {
		t.Errorf("%d items, %d lines, %d in order; want none", q.size, len(q.lines), q.order.Len())
	}

	push("e1", "e2", "e3", "e4", "e5", "e6")
	if q.push("e", "e7") != nil {
		t.Error("more than one may have")
	}
	push("a1", "b1", "c1", "d1")
	if q.push("f", "f1") != nil {
		t.Error("more than there may be")
	}
}

// Nobody has all places, and who gives up waiting is no longer in anybody's way.
func TestTurns(t *testing.T) {
	ctx := t.Context()
	turns := newTurns(workLists, 3)
	var ends []func()
	for range 2 {
		end, err := turns.take(ctx, "eve")
		if err != nil {
			t.Fatal(err)
		}
		ends = append(ends, end)
	}
	gone, cancel := context.WithCancel(ctx)
	waiting := make(chan error, maxTurnsWaitingEach)
	for range maxTurnsWaitingEach {
		go func() { _, err := turns.take(gone, "eve"); waiting <- err }()
	}
	for _, n, _ := turns.tally(); n < maxTurnsWaitingEach; _, n, _ = turns.tally() {
		runtime.Gosched()
	}
	_, err := turns.take(ctx, "eve")
	if wire.CodeOf(err) != wire.CodeExhausted || !strings.Contains(err.Error(), "again") {
		t.Errorf("one more than may wait: %v", err)
	}
	bob, err := turns.take(ctx, "bob")
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	for range maxTurnsWaitingEach {
		if err := <-waiting; !errors.Is(err, context.Canceled) {
			t.Errorf("who gave up: %v", err)
		}
	}
	bob()
	for _, end := range ends {
		end()
	}
	if running, n, away := turns.tally(); running != 0 || n != 0 || away != 1 || len(turns.running) != 0 {
		t.Errorf("%d run, %d wait, %d were turned away; want 0, 0, 1", running, n, away)
	}
	if _, err := turns.take(gone, "eve"); err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// Submissions of one identity wait behind their own, those of the cell never behind them; what is given up is not
// carried out.
func TestAdmissionInTurn(t *testing.T) {
	a := newAdmission(nil)
	some := func(sharer string, n int) (subs []*submission) {
		for i := range n {
			subs = append(subs, &submission{sharer: sharer, Submission: wire.Submission{Class: fmt.Sprint(sharer, i)}})
		}
		return subs
	}
	eve := some("client/eve", maxWaitingEach+1)
	leave := a.enter(eve)
	select {
	case got := <-eve[maxWaitingEach].done:
		if wire.CodeOf(got.err) != wire.CodeExhausted {
			t.Errorf("one more than may wait: %v", got.err)
		}
	default:
		t.Error("one more than may wait waits")
	}
	a.enter(some("client/bob", 2))
	a.enter(some("node/n1", 1))
	batch := a.batch()
	var got []string
	for _, s := range batch[:6] {
		got = append(got, s.Class)
	}
	want := "client/eve0 client/bob0 node/n10 client/eve1 client/bob1 client/eve2"
	if strings.Join(got, " ") != want || len(batch) != decideAtOnce {
		t.Errorf("a batch of %d begins with %q, want %d and %q", len(batch), got, decideAtOnce, want)
	}
	if leave() {
		t.Error("all have left, though some are being decided")
	}
	if rest := a.batch(); len(rest) != 0 {
		t.Errorf("%d that were given up are decided", len(rest))
	}
}
