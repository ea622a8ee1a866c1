package raftlog

import (
	"errors"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// slowly reads from a connection a piece in each of so many intervals, and reports when it has read most bytes.
func slowly(conn net.Conn, most int, each time.Duration) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, pieceBytes)
		for most > 0 {
			time.Sleep(each)
			n, err := conn.Read(buf)
			if err != nil {
				return
			}
			most -= n
		}
	}()
	return done
}

// TestMessagesOutlastADeadlineWhileTheyMove: a message that needs ten times the engine's deadline arrives, one that
// stands still fails after it, and an answer has as long after the last piece.
func TestMessagesOutlastADeadlineWhileTheyMove(t *testing.T) {
	const pieces = 20
	for name, set := range map[string]func(*trackedConn, time.Time) error{
		"call": (*trackedConn).SetDeadline, "pipeline": (*trackedConn).SetWriteDeadline,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				near, far := net.Pipe()
				c := &trackedConn{Conn: near, of: &streams{}}
				defer c.Close()
				began := time.Now()
				if err := set(c, began.Add(rpcTimeout)); err != nil {
					t.Fatal(err)
				}
				read := slowly(far, pieces*pieceBytes, rpcTimeout/2)
				if n, err := c.Write(make([]byte, pieces*pieceBytes)); err != nil || n != pieces*pieceBytes {
					t.Fatalf("wrote %d bytes, %v after %v", n, err, time.Since(began))
				}
				<-read
				if took := time.Since(began); took != pieces*rpcTimeout/2 {
					t.Errorf("it took %v", took)
				}
				still := time.Now()
				if _, err := c.Write([]byte{1}); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(still) != rpcTimeout {
					t.Errorf("to a peer that reads nothing: %v after %v", err, time.Since(still))
				}
			})
		})
	}
}

// TestALaterDeadlineStays: that of a snapshot is longer than what a piece is given.
func TestALaterDeadlineStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		c := &trackedConn{Conn: near, of: &streams{}}
		defer c.Close()
		began := time.Now()
		if err := c.SetDeadline(began.Add(10 * rpcTimeout)); err != nil {
			t.Fatal(err)
		}
		read := slowly(far, 1, 0)
		if _, err := c.Write([]byte{1}); err != nil {
			t.Fatal(err)
		}
		<-read
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(began) != 10*rpcTimeout {
			t.Errorf("an answer that does not come: %v after %v", err, time.Since(began))
		}
	})
}
