package clock

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/datanode/datanode/wire/mux"
)

func TestAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, begin := Of(mux.Clock{}), time.Now()
		<-c.After(time.Minute)
		if got := c.Now().Sub(begin); got != time.Minute {
			t.Errorf("a minute took %s", got)
		}
	})
}

// A clock of a test's own is followed, and only what it lacks is the system's.
func TestOfKeepsFunctions(t *testing.T) {
	at := time.Unix(1, 0)
	var wake func()
	c := Of(mux.Clock{
		Now:       func() time.Time { return at },
		AfterFunc: func(_ time.Duration, f func()) func() bool { wake = f; return nil },
	})
	done := c.After(time.Hour)
	select {
	case <-done:
		t.Fatal("over before the clock says so")
	default:
	}
	wake()
	<-done
	if got := c.Now(); !got.Equal(at) {
		t.Errorf("it is %s, want %s", got, at)
	}
	if Of(mux.Clock{AfterFunc: c.AfterFunc}).Now == nil {
		t.Error("a clock that tells no time")
	}
}
