package main

import (
	"errors"
	"io"
	"os"
	"sync"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
)

const progressWidth = 40

// progress is a bar on stderr while something long runs, when stderr is a terminal. A nil one shows
// nothing. It is used by one goroutine, and must be ended; twice is fine.
type progress struct {
	name, unit string
	all        *mpb.Progress
	bar        *mpb.Bar // nil until there is a total: a bar of 0 of 0 tells nothing
	ended      sync.Once
	a          *app
}

// newProgress starts a bar; unit is "" for things that are counted and "B" for bytes.
func (a *app) newProgress(name, unit string) *progress {
	f, ok := a.stderr.(*os.File)
	if !ok || !terminal(f) {
		return nil
	}
	p := &progress{name: name, unit: unit, all: mpb.New(mpb.WithOutput(f), mpb.WithWidth(progressWidth)), a: a}
	a.bar.Store(p)
	return p
}

func (p *progress) newBar() *mpb.Bar {
	counters := decor.CountersNoUnit(" %d of %d")
	if p.unit == "B" {
		counters = decor.CountersKibiByte(" % .1f of % .1f")
	}
	return p.all.New(0, mpb.BarStyle().Lbound("[").Filler("=").Tip(">").Padding(" ").Rbound("]"),
		mpb.PrependDecorators(decor.Name(p.name, decor.WC{C: decor.DextraSpace})),
		mpb.AppendDecorators(counters))
}

// set says that done of total are done.
func (p *progress) set(done, total int64) {
	if p == nil || p.bar == nil && total == 0 {
		return
	}
	if p.bar == nil {
		p.bar = p.newBar()
	}
	p.a.moved.Store(time.Now().UnixNano())
	p.bar.SetTotal(total, false)
	p.bar.SetCurrent(done)
}

// say prints a line above the bar.
func (p *progress) say(format string, args ...any) {
	_, _ = io.WriteString(p.all, printf(printableLines, format+"\n", args...)) // as app.note
}

// end takes the bar away, so that what is printed next stands alone.
func (p *progress) end() {
	if p == nil {
		return
	}
	p.ended.Do(func() {
		if p.bar != nil {
			p.bar.Abort(true)
		}
		p.all.Wait()
		p.a.bar.CompareAndSwap(p, nil)
	})
}

// clearLine takes away the line that the cursor is on.
const clearLine = "\r\x1b[2K"

// waiting says on a terminal what a call waits for, in one line that is written anew; nil where nobody looks. A bar
// that moves says enough.
func (a *app) waiting() func(string) {
	if !terminal(a.stderr) {
		return nil
	}
	return func(what string) {
		bar := a.bar.Load()
		switch {
		case bar == nil && what == "":
			_, _ = io.WriteString(a.stderr, clearLine)
		case bar == nil:
			_, _ = io.WriteString(a.stderr, clearLine+printf(printableLines, "%s", oneLine(what)))
		case what != "" && time.Since(time.Unix(0, a.moved.Load())) >= barStill:
			bar.say("%s", oneLine(what))
		}
	}
}

// barStill is how long a bar has not moved when it no longer says enough.
const barStill = 2 * time.Second

var errNoSeek = errors.New("this input cannot be read twice")

// countReader shows how much of r was read.
type countReader struct {
	r     io.Reader
	p     *progress
	total int64 // 0: not known
	done  int64
	end   bool // there is no more to read
}

// unacknowledged is how far a bar is when so much was read: never full, since what was read is not stored yet. It is
// taken away once it is.
func unacknowledged(done, total int64) (shown, of int64) {
	of = max(total, done+1)
	return min(done, of-1-of/100), of
}

// changed tells whether r turned out to be longer or shorter than it was said to be.
func (c *countReader) changed() bool {
	return c.total > 0 && (c.done > c.total || c.end && c.done < c.total)
}

func (c *countReader) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.done += int64(n)
	c.end = errors.Is(err, io.EOF)
	c.p.set(unacknowledged(c.done, c.total))
	return n, err
}

// Seek makes a failed put repeatable.
func (c *countReader) Seek(offset int64, whence int) (int64, error) {
	s, ok := c.r.(io.Seeker)
	if !ok {
		return 0, errNoSeek
	}
	at, err := s.Seek(offset, whence)
	if err == nil {
		c.done, c.end = at, false
	}
	return at, err
}
