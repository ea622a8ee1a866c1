package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/datanode/datanode/cmd/datanode/internal/cli"
	"github.com/datanode/datanode/cmd/datanode/internal/exit"
	"github.com/datanode/datanode/cmd/datanode/internal/term"
	"github.com/datanode/datanode/wire/client"
	"github.com/spf13/cobra"
)

// stored is one file that was put.
type stored struct {
	Locator string `json:"locator"`
	Bytes   uint64 `json:"bytes"`
	Name    string `json:"name"`
	Disks   uint64 `json:"disks"` // it is on
	Want    uint64 `json:"want"`  // it should be on
}

// few reports whether it is on fewer disks than it should be.
func (s stored) few() bool { return s.Disks < s.Want }

func newPutCommand(a app) *cobra.Command {
	o := putOptions{most: byteFlag{n: defaultPartBytes, least: leastPartBytes, most: mostPartBytes}}
	cmd := &cobra.Command{
		Use: "put FILE|- ...", Short: "Store files; prints a locator for each", Args: cli.Takes(1, -1),
		Long: "Store files. Each is durable on all its replicas when its locator is printed. A single dash reads stdin. " +
			"A file that cannot be read, or that the cell does not take, is told and left out; " +
			"the others are stored all the same. " +
			"When a node is lost, what can be read again is stored by way of another: a file, or up to 1 MiB of stdin. " +
			"What is longer than --extent-bytes is stored in parts of that length, each by a put of its own, and has " +
			"their locators with commas between them, which get takes as it is.",
		Example: "  datanode put report.pdf\n  datanode put --class gold *.go\n  tar c folder | datanode put -",
		RunE: a.WithClient(func(ctx context.Context, c *client.Client, names []string) error {
			if a.Output == term.FormatTable && len(names) == 1 {
				a.learn(ctx, c)
				s, err := a.put(ctx, c, names[0], o)
				if err != nil {
					return err
				}
				if s.few() {
					a.Note("datanode: on %d of %d disks; the cell adds the others as soon as nodes can take them", s.Disks, s.Want)
				}
				return a.Print("%s", s.Locator)
			}
			return term.List(a.Terminal, a.putAll(ctx, c, names, o),
				term.Col("LOCATOR", func(s stored) string { return s.Locator }),
				term.Col("BYTES", func(s stored) string { return term.Count(s.Bytes) }),
				term.Col("DISKS", func(s stored) string { return term.Number(s.Disks) }),
				term.Col("NAME", func(s stored) string { return s.Name }))
		}),
	}
	cmd.Flags().StringVar(&o.Class, "class", "", "class tag of the extents, such as gold")
	cmd.Flags().Var(&o.most, "extent-bytes", "cut what is longer into parts of this length, such as 256Mi")
	return cmd
}

// putOptions are what put is told.
type putOptions struct {
	client.PutOptions
	most byteFlag // of a part
}

const (
	leastPartBytes   = 2 << 20 // a shorter part would share its extent with other puts
	mostPartBytes    = 1 << 40
	defaultPartBytes = 1 << 30
)

// putsInVain is after how many files that the cell did not take, one after the other, the rest is not tried any more.
const putsInVain = 3

// putAll stores one file after the other. One that cannot be read, or that the cell does not take, is reported and left
// out; there is an error in the end. Only a cell that cannot be reached, or takes none of some in a row, ends it early.
func (a app) putAll(ctx context.Context, c *client.Client, names []string,
	o putOptions) iter.Seq2[stored, error] {
	return func(yield func(stored, error) bool) {
		var left leftOut
		few := 0
		a.learn(ctx, c)
		for i, name := range names {
			s, err := a.put(ctx, c, name, o)
			if err == nil {
				if left.inVain = 0; s.few() {
					few++
				}
				if !yield(s, nil) {
					return
				}
				continue
			}
			a.Note("datanode: %s", term.OneLine(left.note(name, err)))
			if rest := len(names) - i - 1; rest > 0 && (ctx.Err() != nil || left.inVain >= putsInVain ||
				errors.As(err, new(*client.Unreachable))) {
				left.untried = rest
				break
			}
		}
		if few > 0 {
			a.Note("datanode: %d of the files are on fewer disks than they should be; the cell adds the others as soon as "+
				"nodes can take them", few)
		}
		if err := left.err(ctx, len(names)); err != nil {
			yield(stored{}, err)
		}
	}
}

// learn lets the client go on by way of nodes that it was not given. When that fails, it has to do with those that
// it was: the put itself says what is wrong.
func (a app) learn(ctx context.Context, c *client.Client) {
	ctx, cancel := context.WithTimeout(ctx, learnPatience)
	defer cancel()
	_ = c.Learn(ctx)
}

const learnPatience = 2 * time.Second

// leftOut are the files that were not stored.
type leftOut struct {
	unread, refused []error
	inVain          int // since one was stored, so many were refused
	untried         int
}

// note remembers why a file was not stored, and says it by name.
func (l *leftOut) note(name string, err error) string {
	if unread := (*unreadable)(nil); errors.As(err, &unread) {
		l.unread = append(l.unread, err)
		return err.Error()
	}
	l.refused = append(l.refused, err)
	l.inVain++
	return name + " is not stored: " + err.Error()
}

// err is what a command of so many files ends in.
func (l *leftOut) err(ctx context.Context, files int) error {
	missing := len(l.unread) + len(l.refused) + l.untried
	switch {
	case missing == 0:
		return nil
	case len(l.refused) == 0 && l.untried == 0:
		return exit.With(exit.Code(ctx, l.unread[0]), "%d of %d files could not be read and were not stored; the others are",
			missing, files)
	case missing == files:
		first := cmp.Or(append(l.refused, l.unread...)...)
		return exit.With(exit.Code(ctx, first),
			"none of %d files is stored: %d were refused, %d could not be read, %d were not tried",
			files, len(l.refused), len(l.unread), l.untried)
	}
	tail := ""
	if l.untried > 0 {
		tail = fmt.Sprintf("; %d of them were not tried any more", l.untried)
	}
	code := exit.Failed
	if errors.Is(ctx.Err(), context.Canceled) {
		code = exit.Interrupted
	}
	return exit.With(code, "%d of %d files are not stored; the others are, and their locators are printed%s", missing,
		files, tail)
}

// unreadable is why a file of this machine could not be opened, or not be read as it was.
type unreadable struct{ err error }

func (u *unreadable) Error() string { return u.err.Error() }
func (u *unreadable) Unwrap() error { return u.err }

// put stores one file, or stdin.
func (a app) put(ctx context.Context, c *client.Client, name string, o putOptions) (stored, error) {
	in, size, err := a.Open(ctx, name)
	if err != nil {
		return stored{}, &unreadable{err}
	}
	defer in.Close()
	bar := a.NewProgress(name, "B")
	defer bar.End()
	o.Length = size
	counted := &term.CountReader{R: in, Bar: bar, Total: size}
	ls, err := c.PutParts(ctx, counted, o.PutOptions, int64(o.most.n))
	if err != nil && counted.Changed() && len(ls) == 0 {
		return stored{}, &unreadable{exit.With(exit.Failed,
			"%s was %d bytes long when it was opened, and is not as it is read, so nothing of it is stored: "+
				"try again once nobody changes it, or store what can be read now with datanode put - <%s", name, size, name)}
	}
	s := stored{Locator: ls.String(), Bytes: ls.Length(), Name: name}
	for i, l := range ls {
		if i == 0 || l.Disks < uint8(s.Disks) {
			s.Disks = uint64(l.Disks)
		}
		s.Want = max(s.Want, uint64(l.Want))
	}
	return s, err
}
