package main

import (
	"context"
	"errors"
	"io"
	"iter"
	"os"

	"github.com/datanode/datanode/wire"
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

func newPutCommand(a *app) *cobra.Command {
	var o client.PutOptions
	cmd := &cobra.Command{
		Use: "put FILE|- ...", Short: "Store files; prints a locator for each", Args: takes(1, -1),
		Long:    "Store files. Each is durable on all its replicas when its locator is printed. A single dash reads stdin. A file that cannot be read is told and left out; the others are stored all the same.",
		Example: "  datanode put report.pdf\n  datanode put --class gold *.go\n  tar c folder | datanode put -",
		RunE: a.withClient(func(ctx context.Context, c *client.Client, names []string) error {
			if a.output == outputTable && len(names) == 1 {
				s, err := a.put(ctx, c, names[0], o)
				if err != nil {
					return err
				}
				return a.print("%s", s.Locator)
			}
			return list(a, a.putAll(ctx, c, names, o),
				column[stored]{"LOCATOR", func(s stored) string { return s.Locator }},
				column[stored]{"BYTES", func(s stored) string { return count(s.Bytes) }},
				column[stored]{"DISKS", func(s stored) string { return number(s.Disks) }},
				column[stored]{"NAME", func(s stored) string { return s.Name }})
		}),
	}
	cmd.Flags().StringVar(&o.Class, "class", "", "class tag of the extents, such as gold")
	return cmd
}

// putAll stores one file after the other. A file that cannot be opened is no reason to leave out those
// behind it, but the error in the end; a cell that does not take one file is.
func (a *app) putAll(ctx context.Context, c *client.Client, names []string, o client.PutOptions) iter.Seq2[stored, error] {
	return func(yield func(stored, error) bool) {
		var skipped []error
		for _, name := range names {
			s, err := a.put(ctx, c, name, o)
			if unread := (*unreadable)(nil); errors.As(err, &unread) {
				a.note("datanode: %s", oneLine(err.Error()))
				skipped = append(skipped, err)
				continue
			}
			if !yield(s, err) || err != nil {
				return
			}
		}
		if len(skipped) > 0 {
			code := exitCode(ctx, skipped[0])
			yield(stored{}, withCode(code, "%d of %d files could not be read and were not stored; the others are", len(skipped), len(names)))
		}
	}
}

// unreadable is why a file of this machine could not be opened, or not be read as it was.
type unreadable struct{ err error }

func (u *unreadable) Error() string { return u.err.Error() }
func (u *unreadable) Unwrap() error { return u.err }

// put stores one file, or stdin.
func (a *app) put(ctx context.Context, c *client.Client, name string, o client.PutOptions) (stored, error) {
	in, size, err := a.open(ctx, name)
	if err != nil {
		return stored{}, &unreadable{err}
	}
	defer in.Close()
	bar := a.newProgress(name, "B")
	defer bar.end()
	o.Length = size
	counted := &countReader{r: in, p: bar, total: size}
	l, err := c.Put(ctx, counted, o)
	if err != nil && counted.changed() {
		return stored{}, &unreadable{withCode(exitFailed, "%s was %d bytes long when it was opened, and is not as it is read, so nothing of it is stored: "+
			"try again once nobody changes it, or store what can be read now with datanode put - <%s", name, size, name)}
	}
	if err == nil && l.Disks < l.Want {
		a.note("datanode: %s is on %d of %d disks; the cell adds the others as soon as nodes can take them", oneLine(name), l.Disks, l.Want)
	}
	return stored{Locator: l.String(), Bytes: l.Length, Name: name, Disks: uint64(l.Disks), Want: uint64(l.Want)}, err
}

// open opens a file, or stdin for a dash. size is 0 when it is not known.
func (a *app) open(ctx context.Context, name string) (in io.ReadCloser, size int64, err error) {
	if name == "-" {
		return io.NopCloser(a.input(ctx)), 0, nil
	}
	info, err := os.Stat(name)
	switch {
	case err != nil: // Open says why
	case info.IsDir():
		return nil, 0, withCode(exitFailed, "%s is a folder; name the files in it", name)
	case !info.Mode().IsRegular():
		return io.NopCloser(newPipeReader(ctx, &lateFile{name: name})), 0, nil
	default:
		size = info.Size()
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, 0, fileError(err)
	}
	return f, size, nil
}

func fileError(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return withCode(exitNotFound, "%w", err)
	}
	return err
}

// readWhole reads a file of at most limit bytes.
func (a *app) readWhole(ctx context.Context, name string, limit int64) ([]byte, error) {
	in, _, err := a.open(ctx, name)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	data, err := io.ReadAll(io.LimitReader(in, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = wire.Errorf(0, wire.CodeInvalid, "%s is larger than %d bytes", name, limit)
	}
	return data, err
}
