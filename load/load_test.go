package load

import (
	"context"
	"errors"
	"os"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// What ends in the warm-up, or after the end, does not count.
func TestRunCountsWhatIsMeasured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := Load{Callers: 3, Warmup: time.Second, Length: 10 * time.Second, Bytes: 1000}
		row, err := l.Run(t.Context(), func(ctx context.Context, _ int) error {
			return pass(ctx, 300*time.Millisecond)
		})
		// Calls end at 0.3, 0.6, ... of each caller: the first measured at 1.2, the last at 10.8 of 11.
		if err != nil || row.Calls != 3*33 || row.PerSecond != 9.9 || row.BytesPerSecond != 9900 || row.P50 != 300_000 ||
			row.Max != 300_000 || row.Errors != 0 {
			t.Errorf("measured %+v, %v", row, err)
		}
	})
}

// When everything is done before the time is up, the rate is that until then.
func TestRunEndsWhenSpent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var left atomic.Int32
		left.Store(40)
		l := Load{Callers: 2, Length: time.Hour, Each: 50}
		row, err := l.Run(t.Context(), func(ctx context.Context, _ int) error {
			if left.Add(-1) < 0 {
				return ErrSpent
			}
			return pass(ctx, 100*time.Millisecond)
		})
		if err != nil || row.Calls != 40 || row.PerSecond != 1000 || row.Batch != 50 {
			t.Errorf("measured %+v, %v", row, err)
		}
	})
}

// Failures are counted beside what succeeds, and end a run in which nothing does.
func TestRunCountsFailures(t *testing.T) {
	broken := errors.New("broken")
	synctest.Test(t, func(t *testing.T) {
		l := Load{Callers: 2, Length: time.Second}
		row, err := l.Run(t.Context(), func(ctx context.Context, caller int) error {
			if err := pass(ctx, 240*time.Millisecond); caller == 0 || err != nil {
				return errors.Join(err, broken)
			}
			return nil
		})
		if err != nil || row.Calls != 4 || row.Errors != 4 || row.Error != "broken" {
			t.Errorf("measured %+v, %v", row, err)
		}
		calls := 0
		l = Load{Callers: 1, Length: time.Second}
		_, err = l.Run(t.Context(), func(context.Context, int) error { calls++; return broken })
		if !errors.Is(err, broken) || calls != maxFailures {
			t.Errorf("after %d calls that fail: %v", calls, err)
		}
	})
}

// pass lets time pass, as a call does that is answered after it.
func pass(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func TestParseStat(t *testing.T) {
	const line = "42 (a) b) c) S 1 42 42 0 -1 4194304 1 2 3 4 150 25 7 8 20 0 9 0 100 200"
	if used, err := parseStat([]byte(line)); err != nil || used != 1750*time.Millisecond {
		t.Errorf("%s, %v", used, err)
	}
	for _, bad := range []string{"", "42 (a) S 1", "42 (a) S 1 2 3 4 5 6 7 8 9 10 x y z"} {
		if used, err := parseStat([]byte(bad)); err == nil {
			t.Errorf("%q is %s", bad, used)
		}
	}
	if used, err := Spent(os.Getpid()); err != nil || used < 0 {
		t.Errorf("this process: %s, %v", used, err)
	}
	if _, err := Spent(1 << 30); err == nil {
		t.Error("a process that is not there has used time")
	}
}
