package main

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"github.com/datanode/datanode/cmd/datanode/internal/cli"
	"github.com/datanode/datanode/cmd/datanode/internal/exit"
	"github.com/datanode/datanode/cmd/datanode/internal/term"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/client"
	"github.com/spf13/cobra"
)

func newGetCommand(a app) *cobra.Command {
	var out, from, part string
	cmd := &cobra.Command{
		Use: "get LOCATOR[,LOCATOR…]|EXTENT", Short: "Read stored bytes", Args: cli.Takes(1, 1),
		Long: "Read stored bytes, to stdout or to a file. What is read was verified against its checksums. " +
			"A file given with -f appears only when it is whole; a large one is read from several nodes at once. " +
			"Locators with commas between them, as put prints them for what it has cut, are read one after the other; " +
			"--range takes a part of what they name together.",
		Example: "  datanode get 12:0+4096 -f report.pdf\n  datanode get 12:1024+16 | xxd\n" +
			"  datanode get 12 --from n2 -f extent",
		RunE: a.WithClient(func(ctx context.Context, c *client.Client, args []string) error {
			reqs, err := readRequests(args[0], part)
			if err != nil {
				return err
			}
			for i := range reqs {
				reqs[i].Node = from
			}
			if out == "" || out == "-" {
				return readAll(ctx, c, reqs, a.Stdout)
			}
			return a.getFile(ctx, c, reqs, out)
		}),
	}
	cmd.Flags().StringVarP(&out, "file", "f", "", "write to this file (default: stdout)")
	cmd.Flags().StringVar(&from, "from", "", "read this node's replica and no other")
	cmd.Flags().StringVar(&part, "range", "", "OFFSET+LENGTH: of what the locators name, only these bytes")
	return cmd
}

// readRequests understands what readRequest does, and locators with commas between them. part is of all of them
// together; empty: everything.
func readRequests(s, part string) ([]wire.ReadRequest, error) {
	if !strings.Contains(s, ",") && part == "" {
		req, err := readRequest(s)
		return []wire.ReadRequest{req}, err
	}
	ls, err := wire.ParseLocators(s)
	if err != nil && part != "" && !strings.ContainsAny(s, ":,") {
		return nil, exit.Usagef("--range is for locators; of extent %s, %s:OFFSET+LENGTH names a part", s, s)
	}
	if err != nil {
		return nil, exit.Usagef("%w", err)
	}
	if part != "" {
		offset, length, err := parseRange(part)
		if err != nil {
			return nil, err
		}
		cut, ok := ls.Range(offset, length)
		if !ok {
			return nil, exit.Usagef("--range %s goes beyond the %d bytes that the locators name", part, ls.Length())
		}
		ls = cut
	}
	reqs := make([]wire.ReadRequest, len(ls))
	for i, l := range ls {
		reqs[i].Locator = l
	}
	return reqs, nil
}

func parseRange(s string) (offset, length uint64, err error) {
	from, count, _ := strings.Cut(s, "+")
	offset, err1 := strconv.ParseUint(from, 10, 64)
	length, err2 := strconv.ParseUint(count, 10, 64)
	if err1 != nil || err2 != nil {
		return 0, 0, exit.Usagef("--range wants OFFSET+LENGTH, such as 4096+512, not %q", s)
	}
	return offset, length, nil
}

// readAll writes what is read to w, one after the other.
func readAll(ctx context.Context, c *client.Client, reqs []wire.ReadRequest, w io.Writer) error {
	for _, req := range reqs {
		if _, err := c.Read(ctx, req, w); err != nil {
			return err
		}
	}
	return nil
}

// atOnceBytes is what is read from several nodes at once if there is a file to put it into.
const atOnceBytes = 32 << 20

// readFile writes what is read to a file that is empty.
func readFile(ctx context.Context, c *client.Client, reqs []wire.ReadRequest, f *os.File, bar *term.Progress) error {
	var ls wire.Locators
	for _, req := range reqs {
		if req.Whole || req.Node != "" {
			ls = nil
			break
		}
		ls = append(ls, req.Locator)
	}
	total := int64(ls.Length())
	if total >= atOnceBytes {
		return c.ReadAtOnce(ctx, ls, &countWriter{at: f, p: bar, total: total})
	}
	for _, req := range reqs {
		if ls == nil { // of a whole extent nobody knows the length here
			total += int64(req.Locator.Length)
		}
	}
	return readAll(ctx, c, reqs, &countWriter{w: f, p: bar, total: total})
}

// readRequest understands a locator, or the number of an extent to be read in whole.
func readRequest(s string) (wire.ReadRequest, error) {
	if !strings.Contains(s, ":") {
		id, err := parseExtent(s)
		if err != nil {
			err = exit.Usagef("%q is neither a locator, such as 12:4096+512, nor the number of an extent", s)
		}
		return wire.ReadRequest{Locator: wire.Locator{Extent: id}, Whole: true}, err
	}
	l, err := wire.ParseLocator(s)
	if err != nil {
		return wire.ReadRequest{}, exit.Usagef("%w", err)
	}
	return wire.ReadRequest{Locator: l}, nil
}

func parseExtent(s string) (uint64, error) {
	id, err := strconv.ParseUint(s, 10, 64)
	if err != nil || id == 0 {
		return 0, exit.Usagef("%q is not the number of an extent, such as 12; see extent ls", s)
	}
	return id, nil
}

func parseExtents(args []string) ([]uint64, error) {
	ids := make([]uint64, len(args))
	for i, s := range args {
		var err error
		if ids[i], err = parseExtent(s); err != nil {
			return nil, err
		}
	}
	return ids, nil
}

// getFile writes to a file beside name and gives it its name when it is whole and on disk, so that
// name is never a part of what was asked for.
func (a app) getFile(ctx context.Context, c *client.Client, reqs []wire.ReadRequest, name string) (err error) {
	if err := checkNewFile(name); err != nil {
		return err
	}
	part, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".*.partial")
	if err != nil {
		return exit.File(err)
	}
	defer func() {
		if err != nil {
			_ = part.Close()           // err says more
			_ = os.Remove(part.Name()) // likewise
		}
	}()
	bar := a.NewProgress(filepath.Base(name), "B")
	defer bar.End()
	if err = readFile(ctx, c, reqs, part, bar); err != nil {
		return err
	}
	if err = part.Sync(); err != nil {
		return err
	}
	if err = part.Chmod(term.NewFileMode(name)); err != nil {
		return err
	}
	if err = part.Close(); err != nil {
		return err
	}
	return os.Rename(part.Name(), name)
}

// checkNewFile reports, before anything is read, whether a file of that name can be made.
func checkNewFile(name string) error {
	if info, err := os.Stat(name); err == nil && info.IsDir() {
		return exit.With(exit.Failed, "%s is a folder; name a file in it", name)
	}
	if _, err := os.Stat(filepath.Dir(name)); err != nil {
		return exit.File(err)
	}
	return nil
}

// countWriter shows how much was written.
type countWriter struct {
	w     io.Writer
	at    io.WriterAt // instead of w, for parts that come at once
	p     *term.Progress
	total int64

	mu   sync.Mutex // several parts may be written at once
	done int64      // Guarded by mu, as is p.
}

func (c *countWriter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.count(n)
	return n, err
}

// WriteAt implements io.WriterAt; it may be called from several goroutines.
func (c *countWriter) WriteAt(b []byte, at int64) (int, error) {
	n, err := c.at.WriteAt(b, at)
	c.count(n)
	return n, err
}

func (c *countWriter) count(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.done += int64(n)
	c.p.Set(c.done, max(c.total, c.done))
}
