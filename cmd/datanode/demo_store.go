package main

import (
	"bytes"
	"context"
	"fmt"

	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/client"
)

// demoWorkers is how many files are stored, or read, at once.
const demoWorkers = 16

// store makes an extent for each package and appends its files.
func (r *replay) store(ctx context.Context) error {
	r.a.note("storing %d packages in a cell of %d nodes", len(r.packages), r.d.nodes)
	if err := r.create(ctx); err != nil {
		return err
	}
	total := 0
	for _, p := range r.packages {
		total += len(p.files)
	}
	t := r.a.newTally("files", total)
	defer t.end()
	err := each(ctx, r.packages, func(ctx context.Context, p *demoPackage) error {
		for i := range p.files {
			n, err := r.append(ctx, p, &p.files[i])
			if err != nil {
				return err
			}
			t.add(n)
		}
		return nil
	})
	r.account.Files, r.account.Bytes, r.account.Extents = t.done, t.bytes, len(r.packages)
	return err
}

// create asks for all extents at once; the nodes take turns as primary.
func (r *replay) create(ctx context.Context) error {
	subs := make([]wire.Submission, len(r.packages))
	for i, p := range r.packages {
		p.primary = devID(i % r.d.nodes)
		subs[i] = wire.Submission{Kind: "create", Class: p.class, Primary: p.primary}
	}
	c := r.cell.client(devID(0))
	answers, err := c.Submit(ctx, subs, client.SubmitOptions{})
	if err != nil {
		return err
	}
	ids := make([]string, len(answers))
	for i, s := range answers {
		if err := client.Refusal(s); err != nil {
			return err
		}
		ids[i], r.packages[i].extent = s.Op, s.Extent
	}
	ops, err := c.Wait(ctx, ids, nil)
	if err != nil {
		return err
	}
	r.created = ids[len(ids)-1]
	return opsError(ops)
}

// append stores one file, at the primary of its package's extent.
func (r *replay) append(ctx context.Context, p *demoPackage, f *demoFile) (int64, error) {
	data, err := f.read()
	if err != nil {
		return 0, err
	}
	o := client.PutOptions{Length: int64(len(data)), Extent: p.extent}
	f.locator, err = r.cell.client(p.primary).Put(ctx, bytes.NewReader(data), o)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", f.path, err)
	}
	return int64(len(data)), nil
}
