package rpcbench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
)

// Questions a server's process answers, one to a line.
const (
	// askAllocs: how many objects it has allocated since it began.
	askAllocs = "allocs"
	// askMemory: how many bytes of heap and stacks are in use, after a collection.
	askMemory = "memory"
)

// Serve is the server's process: it listens on loopback, writes the address to out, and then answers
// questions from in until in ends, as it does when the parent dies.
func Serve(p Peer, in io.Reader, out io.Writer) error {
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer l.Close()
	if _, err := fmt.Fprintln(out, l.Addr()); err != nil {
		return err
	}
	go p.Serve(l)
	questions := bufio.NewScanner(in)
	for questions.Scan() {
		var answer uint64
		switch q := questions.Text(); q {
		case askAllocs:
			answer = allocs()
		case askMemory:
			answer = memory()
		default:
			return fmt.Errorf("question %q, want %s or %s", q, askAllocs, askMemory)
		}
		if _, err := fmt.Fprintln(out, answer); err != nil {
			return err
		}
	}
	return questions.Err()
}

func allocs() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.Mallocs
}

func memory() uint64 {
	runtime.GC()
	runtime.GC() // the first one only empties the pools halfway
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse + m.StackInuse
}

// Server is a server's process, seen from its parent.
type Server struct {
	Addr string

	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// Start runs cmd, whose process calls Serve on its standard input and output. It must be closed.
func Start(cmd *exec.Cmd) (*Server, error) {
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	s := &Server{cmd: cmd, in: in, out: bufio.NewReader(out)}
	addr, err := s.out.ReadString('\n')
	if err != nil {
		return nil, errors.Join(fmt.Errorf("the server printed no address: %w", err), s.Close())
	}
	s.Addr = strings.TrimSpace(addr)
	return s, nil
}

func (s *Server) ask(question string) (n uint64, err error) {
	if _, err := fmt.Fprintln(s.in, question); err != nil {
		return 0, err
	}
	_, err = fmt.Fscanln(s.out, &n)
	return n, err
}

// Close ends the process and waits for it.
func (s *Server) Close() error {
	err := s.in.Close()
	return errors.Join(err, s.cmd.Wait())
}

// Starter starts the server's process of a peer.
type Starter func(ctx context.Context, peer string) (*Server, error)
