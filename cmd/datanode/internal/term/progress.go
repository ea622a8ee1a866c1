package term

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

// Progress is a bar on stderr while something long runs, when stderr is a terminal. A nil one shows
// nothing. It is used by one goroutine, and must be ended; twice is fine.
type Progress struct {
	name, unit string
	all        *mpb.Progress
	bar        *mpb.Bar // nil until there is a total: a bar of 0 of 0 tells nothing
	ended      sync.Once
	t          *Terminal
}

// NewProgress starts a bar; unit is "" for things that are counted and "B" for bytes.
func (t *Terminal) NewProgress(name, unit string) *Progress {
	f, ok := t.Stderr.(*os.File)
	if !ok || !IsTerminal(f) {
		return nil
	}
	p := &Progress{name: name, unit: unit, all: mpb.New(mpb.WithOutput(f), mpb.WithWidth(progressWidth)), t: t}
	t.bar.Store(p)
	return p
}

func (p *Progress) newBar() *mpb.Bar {
	counters := decor.CountersNoUnit(" %d of %d")
	if p.unit == "B" {
		counters = decor.CountersKibiByte(" % .1f of % .1f")
	}
	return p.all.New(0, mpb.BarStyle().Lbound("[").Filler("=").Tip(">").Padding(" ").Rbound("]"),
		mpb.PrependDecorators(decor.Name(p.name, decor.WC{C: decor.DextraSpace})),
		mpb.AppendDecorators(counters))
}

// Set says that done of total are done.
func (p *Progress) Set(done, total int64) {
	if p == nil || p.bar == nil && total == 0 {
		return
	}
	if p.bar == nil {
		p.bar = p.newBar()
	}
	p.t.moved.Store(time.Now().UnixNano())
	p.bar.SetTotal(total, false)
	p.bar.SetCurrent(done)
}

// Say prints a line above the bar.
func (p *Progress) Say(format string, args ...any) {
	_, _ = io.WriteString(p.all, Printf(printableLines, format+"\n", args...)) // as app.note
}

// End takes the bar away, so that what is printed next stands alone.
func (p *Progress) End() {
	if p == nil {
		return
	}
	p.ended.Do(func() {
		if p.bar != nil {
			p.bar.Abort(true)
		}
		p.all.Wait()
		p.t.bar.CompareAndSwap(p, nil)
	})
}

// clearLine takes away the line that the cursor is on.
const clearLine = "\r\x1b[2K"

// Waiting says on a terminal what a call waits for, in one line that is written anew; nil where nobody looks. A bar
// that moves says enough.
func (t *Terminal) Waiting() func(string) {
	if !IsTerminal(t.Stderr) {
		return nil
	}
	return func(what string) {
		bar := t.bar.Load()
		switch {
		case bar == nil && what == "":
			_, _ = io.WriteString(t.Stderr, clearLine)
		case bar == nil:
			_, _ = io.WriteString(t.Stderr, clearLine+Printf(printableLines, "%s", OneLine(what)))
		case what != "" && time.Since(time.Unix(0, t.moved.Load())) >= barStill:
			bar.Say("%s", OneLine(what))
		}
	}
}

// barStill is how long a bar has not moved when it no longer says enough.
const barStill = 2 * time.Second

var errNoSeek = errors.New("this input cannot be read twice")

// CountReader shows how much of r was read.
type CountReader struct {
	R     io.Reader
	Bar   *Progress
	Total int64 // 0: not known
	done  int64
	end   bool // there is no more to read
}

// unacknowledged is how far a bar is when so much was read: never full, since what was read is not stored yet. It is
// taken away once it is.
func unacknowledged(done, total int64) (shown, of int64) {
	of = max(total, done+1)
	return min(done, of-1-of/100), of
}

// Changed reports whether r turned out to be longer or shorter than it was said to be.
func (c *CountReader) Changed() bool {
	return c.Total > 0 && (c.done > c.Total || c.end && c.done < c.Total)
}

func (c *CountReader) Read(b []byte) (int, error) {
	n, err := c.R.Read(b)
	c.done += int64(n)
	c.end = errors.Is(err, io.EOF)
	c.Bar.Set(unacknowledged(c.done, c.Total))
	return n, err
}

// Seek makes a failed put repeatable.
func (c *CountReader) Seek(offset int64, whence int) (int64, error) {
	s, ok := c.R.(io.Seeker)
	if !ok {
		return 0, errNoSeek
	}
	at, err := s.Seek(offset, whence)
	if err == nil {
		c.done, c.end = at, false
	}
	return at, err
}
