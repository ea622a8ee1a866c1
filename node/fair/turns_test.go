package fair

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"

	"github.com/datanode/datanode/wire"
)

// Nobody has all places, and who gives up waiting is no longer in anybody's way.
func TestTurns(t *testing.T) {
	ctx := t.Context()
	turns := NewTurns(Options{Work: "lists", AtOnce: 3})
	var ends []func()
	for range 2 {
		end, err := turns.Take(ctx, "eve")
		if err != nil {
			t.Fatal(err)
		}
		ends = append(ends, end)
	}
	gone, cancel := context.WithCancel(ctx)
	waiting := make(chan error, MaxTurnsWaitingEach)
	for range MaxTurnsWaitingEach {
		go func() { _, err := turns.Take(gone, "eve"); waiting <- err }()
	}
	for _, n, _ := turns.Tally(); n < MaxTurnsWaitingEach; _, n, _ = turns.Tally() {
		runtime.Gosched()
	}
	_, err := turns.Take(ctx, "eve")
	if wire.CodeOf(err) != wire.CodeExhausted || !strings.Contains(err.Error(), "again") {
		t.Errorf("one more than may wait: %v", err)
	}
	bob, err := turns.Take(ctx, "bob")
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	for range MaxTurnsWaitingEach {
		if err := <-waiting; !errors.Is(err, context.Canceled) {
			t.Errorf("who gave up: %v", err)
		}
	}
	bob()
	for _, end := range ends {
		end()
	}
	if running, n, away := turns.Tally(); running != 0 || n != 0 || away != 1 || len(turns.running) != 0 {
		t.Errorf("%d run, %d wait, %d were turned away; want 0, 0, 1", running, n, away)
	}
	if _, err := turns.Take(gone, "eve"); err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
