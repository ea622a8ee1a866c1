package term

import (
	"context"
	"errors"
	"io"
	"os"
)

// pipeChunk is how much of a pipe is read at once.
const pipeChunk = 256 << 10

// pipeReader reads stdin, or what else may have to be waited for, and gives up when its context ends: a read of a
// terminal or of a pipe that nobody writes to cannot be interrupted otherwise. What was being read then is lost.
// Used by one goroutine.
type pipeReader struct {
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

// Input is stdin until ctx ends.
func (t *Terminal) Input(ctx context.Context) *pipeReader { return newPipeReader(ctx, t.Stdin) }

func newPipeReader(ctx context.Context, in io.Reader) *pipeReader {
	return &pipeReader{
		in: in, done: ctx.Done(), cause: func() error { return context.Cause(ctx) },
		buf: make([]byte, pipeChunk), read: make(chan readResult, 1),
	}
}

func (s *pipeReader) Read(b []byte) (int, error) {
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

// lateFile is a file that its first Read opens, and the end of it closes: a pipe with a name opens only once somebody
// writes to it. One that is not read to its end is closed with the program.
type lateFile struct {
	name string
	file *os.File // nil: not open
}

func (l *lateFile) Read(b []byte) (int, error) {
	if l.file == nil {
		var err error
		if l.file, err = os.Open(l.name); err != nil {
			return 0, err
		}
	}
	n, err := l.file.Read(b)
	if errors.Is(err, io.EOF) {
		_ = l.file.Close() // nothing was written
	}
	return n, err
}
