package node

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/datanode/datanode/wire"
)

// The attackers are in a process of their own: what they do then is no part of what the node takes, and
// their garbage is not what the node's garbage collector runs for.

// attackEnv makes the test program attack; its value is a JSON order.
const attackEnv = "DATANODE_TEST_ATTACK"

// What an attacking process says on lines of its own.
const (
	attackPlanted = "planted"
	attackEnded   = "ended" // the node has hung up on a connection
)

// order says what an attacking process is to do. It does it until its standard input ends, so that it
// cannot outlive the test that started it.
type order struct {
	Sink  bool // take connections and close them, rather than attack
	Addr  string
	Net   byte // from addresses 127.0.Net.x: who was hostile before is known
	Bomb  string
	Conns int
	Large wire.Locator
}

// actAsAttacker is what the processes of TestHostile do, in place of tests.
func actAsAttacker(text string) error {
	var o order
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	if o.Sink {
		return sink(ctx)
	}
	all := bombs()
	i := slices.IndexFunc(all, func(b bomb) bool { return b.name == o.Bomb })
	a := &attack{bomb: all[i], addr: o.Addr, net: o.Net, large: o.Large}
	a.conns = o.Conns
	a.run(ctx, func(what string) { fmt.Println(what) })
	fmt.Println(a.opened.Load(), a.ended.Load())
	return nil
}

// sink says where it listens, and closes every connection at once: the least that anybody can do about them.
func sink(ctx context.Context) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { l.Close() })()
	fmt.Println(l.Addr())
	for {
		nc, err := l.Accept()
		if err != nil {
			return nil //nolint:nilerr // it was closed: the order is carried out
		}
		nc.Close()
	}
}

// attacker is an attacking process.
type attacker struct {
	t       *testing.T
	cmd     *exec.Cmd
	stdin   io.Closer
	lines   *bufio.Scanner
	planted chan struct{} // closed once all connections have been made
	ended   atomic.Bool   // the node has hung up on some
	exited  chan struct{}
	opened  int
	hungUp  int
}

// sendOut starts an attacking process. It ends with stop, or with the test.
func sendOut(t *testing.T, o order) *attacker {
	t.Helper()
	text, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), attackEnv+"="+string(text))
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	a := &attacker{
		t: t, cmd: cmd, stdin: stdin, lines: bufio.NewScanner(stdout),
		planted: make(chan struct{}), exited: make(chan struct{}),
	}
	if !o.Sink {
		go a.listen()
	}
	return a
}

// hear is the first line that the process says.
func (a *attacker) hear() string {
	a.lines.Scan()
	line := a.lines.Text()
	go a.listen()
	return line
}

// listen hears what the process says until it ends.
func (a *attacker) listen() {
	defer close(a.exited)
	for a.lines.Scan() {
		switch line := a.lines.Text(); line {
		case attackPlanted:
			close(a.planted)
		case attackEnded:
			a.ended.Store(true)
		default:
			_, _ = fmt.Sscan(line, &a.opened, &a.hungUp) // the rest is of the test's own
		}
	}
}

// awaitPlanted waits until every connection was made once, and has done its worst if it is to be kept.
func (a *attacker) awaitPlanted() {
	a.t.Helper()
	select {
	case <-a.planted:
	case <-a.exited:
		a.t.Fatal("the attackers have ended before they began")
	case <-testContext(a.t).Done():
		a.t.Fatal("the attack does not begin")
	}
}

// stop ends the process, and says how many connections it has made and how many of them the node has ended.
func (a *attacker) stop() (opened, ended int) {
	a.t.Helper()
	a.stdin.Close()
	<-a.exited
	if err := a.cmd.Wait(); err != nil {
		a.t.Errorf("the attackers: %v", err)
	}
	return a.opened, a.hungUp
}
