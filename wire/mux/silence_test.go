package mux

import (
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/datanode/datanode/wire"
)

// cutLine loses what is written to it once it is cut, as a line does that works one way only.
type cutLine struct {
	net.Conn
	cut *atomic.Bool
}

func (l cutLine) Write(p []byte) (int, error) {
	if l.cut.Load() {
		return len(p), nil
	}
	return l.Conn.Write(p)
}

func nodeConfig(id string) Config {
	return Config{Hello: wire.Hello{Node: id}, Silence: 2 * time.Second}
}

// A line between nodes that works one way only is found out by both of them, and a call on it fails with an error
// that may be tried again, long before a ping is given up.
func TestOneWayLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var cut atomic.Bool
		cnc, snc := net.Pipe()
		scfg := nodeConfig("n2")
		scfg.Handler = HandlerFunc(holdUntilCancelled)
		c, s := connect(t, cnc, cutLine{snc, &cut}, nodeConfig("n1"), scfg)
		time.Sleep(time.Minute) // of the bubble's time: nodes that say nothing else hear each other's pings
		if c.Err() != nil || s.Err() != nil {
			t.Fatalf("an idle connection ended: %v, %v", c.Err(), s.Err())
		}
		failed := make(chan error, 1)
		go func() {
			_, err := c.Call(t.Context(), unaryRequest)
			failed <- err
		}()
		synctest.Wait()
		began := time.Now()
		cut.Store(true)
		if err := <-failed; wire.CodeOf(err) != wire.CodeConnection || wire.OutcomeOf(err) != wire.Unknown {
			t.Errorf("the call ended with %v", err)
		}
		<-s.Done()
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("found out after %v of the bubble's time", took)
		}
	})
}

// Bytes of a frame that takes long are a sign of life, and a client that says nothing is not given up: it may
// have been stopped for a while.
func TestSilenceThatIsNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := nodeConfig("n2")
		cfg.Handler = HandlerFunc(holdUntilCancelled)
		cnc, snc := net.Pipe()
		var cut atomic.Bool
		client, server := connect(t, cutLine{cnc, &cut}, snc, Config{}, cfg)
		cut.Store(true)
		time.Sleep(8 * time.Second)
		if err := server.Err(); err != nil {
			t.Errorf("a silent client was given up: %v", err)
		}
		client.Close()
		server.Close()

		var ears hearing
		one, two := net.Pipe()
		ears.Conn = one
		go func() { _, _ = two.Write([]byte{1}); two.Close() }()
		buf := make([]byte, 4)
		if n, err := ears.Read(buf); n != 1 || err != nil || !ears.heard.Swap(false) {
			t.Errorf("a byte arrived and was not heard: %d, %v", n, err)
		}
		if _, err := ears.Read(buf); err == nil || ears.heard.Load() {
			t.Errorf("the end was heard: %v", err)
		}
		one.Close()
	})
}
