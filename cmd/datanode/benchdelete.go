package main

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/datanode/datanode/cmd/datanode/internal/cli"
	"github.com/datanode/datanode/cmd/datanode/internal/exit"
	"github.com/datanode/datanode/load"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/client"
	"github.com/spf13/cobra"
)

const benchDeleteHelp = `Measure deletes of objects by their locators: how long callers wait who each delete one batch
after the other, each over a connection of its own. The objects are put first, in extents of a class of their own. It
ends when all are deleted; what is left of the extents is deleted at the end.`

// deleteBench is what bench delete measures.
type deleteBench struct {
	benchLoad
	batch int
}

func (b *deleteBench) check() error {
	if b.batch < 1 || b.batch > b.objects {
		return exit.Usagef("--batch %d: want 1 to the %d of --objects", b.batch, b.objects)
	}
	return b.checkObjects()
}

func newBenchDeleteCommand(a app) *cobra.Command {
	var b deleteBench
	cmd := &cobra.Command{
		Use: "delete", Short: "Measure deletes from a cell", Long: benchDeleteHelp, Args: cli.Takes(0, 0),
		Example: "  datanode bench delete --callers 4 --objects 10000",
		RunE:    a.bench(&b.benchLoad, b.check, b.deletes),
	}
	b.flags(cmd, 16)
	cmd.Flags().Lookup("each").Usage = "how long it is measured at most"
	cmd.Flags().Lookup("warmup").Hidden = true // there are only so many objects; each caller deletes one before
	cmd.Flags().IntVar(&b.objects, "objects", 2000, "how many objects there are to delete")
	cmd.Flags().IntVar(&b.batch, "batch", 1, "how many objects one call deletes")
	return cmd
}

// deletes puts the objects, and one more for each caller, whose delete opens its session; then it measures.
func (b *deleteBench) deletes(ctx context.Context, c *client.Client, callers []*client.Client) (load.Row, error) {
	all := b.benchLoad
	all.objects += len(callers)
	objects, err := all.put(ctx, c)
	if err != nil {
		return load.Row{}, err
	}
	errs := make([]error, len(callers))
	var wg sync.WaitGroup
	for i, caller := range callers {
		wg.Go(func() { errs[i] = deleteObjects(ctx, caller, objects[b.objects+i:][:1]) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return load.Row{}, err
	}
	var next atomic.Int64
	l := b.load()
	l.Warmup, l.Each = 0, b.batch
	return l.Run(ctx, func(ctx context.Context, i int) error {
		end := int(next.Add(int64(b.batch)))
		if end > b.objects {
			return load.ErrSpent
		}
		return deleteObjects(ctx, callers[i], objects[end-b.batch:end])
	})
}

// deleteObjects deletes objects at once. The error is that of the first that was not deleted.
func deleteObjects(ctx context.Context, c *client.Client, objects []wire.Locator) error {
	refused, err := c.Delete(ctx, objects)
	return cmp.Or(err, cmp.Or(refused...))
}
