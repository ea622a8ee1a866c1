package demo

import (
	"bytes"
	"context"
	"fmt"

	"github.com/datanode/datanode/cmd/datanode/internal/cli"
	"github.com/datanode/datanode/cmd/datanode/internal/local"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/client"
)

// inParallel is how many files are stored, or read, at once.
const inParallel = 16

// Store makes an extent for each package and appends its files.
func (r *Replay) Store(ctx context.Context) error {
	r.App.Note("storing %d packages in a cell of %d nodes", len(r.Packages), r.Options.Nodes)
	if err := r.create(ctx); err != nil {
		return err
	}
	total := 0
	for _, p := range r.Packages {
		total += len(p.Files)
	}
	t := r.newTally("files", total)
	defer t.end()
	err := each(ctx, r.Packages, func(ctx context.Context, p *Package) error {
		for i := range p.Files {
			n, err := r.append(ctx, p, &p.Files[i])
			if err != nil {
				return err
			}
			t.add(n)
		}
		return nil
	})
	r.Account.Files, r.Account.Bytes, r.Account.Extents = t.done, t.bytes, len(r.Packages)
	return err
}

// create asks for all extents at once; the nodes take turns as primary.
func (r *Replay) create(ctx context.Context) error {
	subs := make([]wire.Submission, len(r.Packages))
	for i, p := range r.Packages {
		p.primary = local.ID(i % r.Options.Nodes)
		subs[i] = wire.Submission{Kind: "create", Class: p.Class, Primary: p.primary}
	}
	c := r.Cell.Client(local.ID(0))
	answers, err := c.Submit(ctx, subs, client.SubmitOptions{})
	if err != nil {
		return err
	}
	ids := make([]string, len(answers))
	for i, s := range answers {
		if err := client.Refusal(s); err != nil {
			return err
		}
		ids[i], r.Packages[i].Extent = s.Op, s.Extent
	}
	ops, err := c.Wait(ctx, ids, nil)
	if err != nil {
		return err
	}
	r.created = ids[len(ids)-1]
	return cli.OpsError(ops)
}

// append stores one file, at the primary of its package's extent.
func (r *Replay) append(ctx context.Context, p *Package, f *File) (int64, error) {
	data, err := f.read()
	if err != nil {
		return 0, err
	}
	o := client.PutOptions{Length: int64(len(data)), Extent: p.Extent}
	f.locator, err = r.Cell.Client(p.primary).Put(ctx, bytes.NewReader(data), o)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", f.path, err)
	}
	return int64(len(data)), nil
}
