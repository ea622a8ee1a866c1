package main

import (
	"context"
	"io"
)

// stdinChunk is how much of stdin is read at once.
const stdinChunk = 256 << 10

// stdinReader reads stdin, and gives up when its context ends: a read of a terminal or of a pipe that nobody
// writes to cannot be interrupted otherwise. What was being read then is lost. Used by one goroutine.
type stdinReader struct {
	in    io.Reader
	done  <-chan struct{} // of the context
	cause func() error    // why it ended
	buf   []byte          // owned by the read under way
	read  chan readResult
	over  error // what every further Read returns
}

type readResult struct {
	n   int
	err error
}

// input is stdin until ctx ends.
func (a *app) input(ctx context.Context) *stdinReader {
	return &stdinReader{
		in: a.stdin, done: ctx.Done(), cause: func() error { return context.Cause(ctx) },
		buf: make([]byte, stdinChunk), read: make(chan readResult, 1),
	}
}

func (s *stdinReader) Read(b []byte) (int, error) {
	if s.over != nil {
		return 0, s.over
	}
	want := s.buf[:min(len(b), len(s.buf))]
	go func() { // ends with the read, at the latest with the program
		n, err := s.in.Read(want)
		s.read <- readResult{n, err}
	}()
	select {
	case got := <-s.read:
		s.over = got.err
		return copy(b, want[:got.n]), got.err
	case <-s.done:
		s.over = s.cause()
		return 0, s.over
	}
}
