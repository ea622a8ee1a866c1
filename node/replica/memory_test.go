package replica

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/datanode/datanode/wire"
)

// A hundred copies at once hold no more than there is, get on all the same, and give it back.
func TestCopiesKeepToTheirMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory(LeastCopyMemory)
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() {
				done, err := m.ToWrite(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				defer done()
				sent, err := m.ToSend(t.Context(), "n1", time.Hour) // while it is written: the copy of another node
				if err != nil {
					t.Error(err)
					return
				}
				time.Sleep(time.Second) // of the bubble
				sent()
			})
		}
		all.Wait()
		if most := m.Most(); most > LeastCopyMemory || most < LeastCopyMemory/2 {
			t.Errorf("they held %d bytes at once, want at most %d and at least half of it", most, LeastCopyMemory)
		}
		if m.Bytes() != 0 {
			t.Errorf("%d bytes are not given back", m.Bytes())
		}
	})
}

// Who sends needs none of what those hold who wait for it: else two nodes that copy from each other would both wait.
func TestSourcesHaveMemoryOfTheirOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory(LeastCopyMemory)
		for range (LeastCopyMemory - LeastCopyMemory/sentParts) / takenBytes {
			if _, err := m.ToWrite(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		ended, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := m.ToWrite(ended); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("one copy more than there is memory for: %v", err)
		}
		for range LeastCopyMemory / sentParts / sentBytes {
			if _, err := m.ToSend(t.Context(), "n1", time.Second); err != nil {
				t.Fatal(err)
			}
		}
		begin := time.Now()
		_, err := m.ToSend(t.Context(), "n1", 2*time.Second)
		took := time.Since(begin)
		if wire.CodeOf(err) != wire.CodeExhausted || wire.RetryAfter(err) != busyAgain || took != 2*time.Second {
			t.Errorf("after %s: %v, to be asked again in %s", took, err, wire.RetryAfter(err))
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := m.ToSend(ctx, "n1", time.Second); !errors.Is(err, context.Canceled) {
			t.Errorf("a call that has ended: %v", err)
		}
	})
}
