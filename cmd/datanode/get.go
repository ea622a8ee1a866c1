package main

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/datanode/datanode/cmd/datanode/internal/cli"
	"github.com/datanode/datanode/cmd/datanode/internal/exit"
	"github.com/datanode/datanode/cmd/datanode/internal/term"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/client"
	"github.com/spf13/cobra"
)

func newGetCommand(a app) *cobra.Command {
	var out, from string
	cmd := &cobra.Command{
		Use: "get LOCATOR|EXTENT", Short: "Read stored bytes", Args: cli.Takes(1, 1),
		Long: "Read stored bytes, to stdout or to a file. What is read was verified against its checksums. " +
			"A file given with -f appears only when it is whole.",
		Example: "  datanode get 12:0+4096 -f report.pdf\n  datanode get 12:1024+16 | xxd\n" +
			"  datanode get 12 --from n2 -f extent",
		RunE: a.WithClient(func(ctx context.Context, c *client.Client, args []string) error {
			req, err := readRequest(args[0])
			if err != nil {
				return err
			}
			req.Node = from
			if out == "" || out == "-" {
				_, err = c.Read(ctx, req, a.Stdout)
				return err
			}
			return a.getFile(ctx, c, req, out)
		}),
	}
	cmd.Flags().StringVarP(&out, "file", "f", "", "write to this file (default: stdout)")
	cmd.Flags().StringVar(&from, "from", "", "read this node's replica and no other")
	return cmd
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
func (a app) getFile(ctx context.Context, c *client.Client, req wire.ReadRequest, name string) (err error) {
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
	if _, err = c.Read(ctx, req, &countWriter{w: part, p: bar, total: int64(req.Locator.Length)}); err != nil {
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
	p     *term.Progress
	total int64
	done  int64
}

func (c *countWriter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.done += int64(n)
	c.p.Set(c.done, max(c.total, c.done))
	return n, err
}
