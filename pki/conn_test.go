package pki

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"
)

// countingConn counts writes, and fails them once told to.
type countingConn struct {
	net.Conn
	writes atomic.Int64
	broken atomic.Bool
}

var errBroken = errors.New("broken on purpose")

func (c *countingConn) Write(p []byte) (int, error) {
	c.writes.Add(1)
	if c.broken.Load() {
		return 0, errBroken
	}
	return c.Conn.Write(p)
}

// pair is both ends of a TLS connection over TCP, before the handshake.
func pair(t *testing.T) (client, server *Conn, below *countingConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	nc, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	_, own, err := NewAuthority("test", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	cert, err := tls.X509KeyPair(own.Cert, own.Key)
	if err != nil {
		t.Fatal(err)
	}
	below = &countingConn{Conn: nc}
	client = NewClient(below, &tls.Config{InsecureSkipVerify: true})
	server = NewServer(accepted, &tls.Config{Certificates: []tls.Certificate{cert}})
	t.Cleanup(func() { _, _ = client.Close(), server.Close() })
	return client, server, below
}

// TestConnGathers: everything written arrives, in order and without a flush, in a write for many records; the
// handshake may be left to the first write.
func TestConnGathers(t *testing.T) {
	client, server, below := pair(t)
	sent := bytes.Repeat([]byte("0123456789abcdef"), 64<<10) // 1 MiB
	got := make(chan []byte, 1)
	go func() {
		p := make([]byte, 2*len(sent)+3)
		_, err := io.ReadFull(server, p)
		if err != nil {
			t.Error(err)
		}
		got <- p
	}()
	if _, err := client.Write([]byte("abc")); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Write(sent); err != nil { // the first records are small ones, whatever is written
		t.Fatal(err)
	}
	before := below.writes.Load()
	n, err := client.WriteParts([][]byte{sent[:7], sent[7 : 700<<10], sent[700<<10:]})
	if err != nil || n != int64(len(sent)) {
		t.Fatal(n, err)
	}
	if writes := below.writes.Load() - before; writes > int64(len(sent)/gatherBytes)+2 {
		t.Errorf("%d writes for 1 MiB, want one for each %d bytes", writes, gatherBytes)
	}
	if want := append(append([]byte("abc"), sent...), sent...); !bytes.Equal(<-got, want) {
		t.Error("other bytes arrived than were sent")
	}
}

// TestConnFails: a write that fails below fails above, and so does every one after it.
func TestConnFails(t *testing.T) {
	client, server, below := pair(t)
	go server.Handshake() // the client's says whether it worked
	if err := client.Handshake(); err != nil {
		t.Fatal(err)
	}
	below.broken.Store(true)
	if _, err := client.Write(make([]byte, 100)); !errors.Is(err, errBroken) {
		t.Errorf("got %v, want %v", err, errBroken)
	}
	below.broken.Store(false)
	if _, err := client.Write([]byte("more")); !errors.Is(err, errBroken) {
		t.Errorf("written after a failure, which leaves a hole: %v", err)
	}
}
