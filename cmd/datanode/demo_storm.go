package main

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/client"
)

// storm decommissions a node, deletes a third of the extents and loses another node, all at once, and
// waits until the cell has recovered from it while that node is still away.
func (r *replay) storm(ctx context.Context) error {
	for i, p := range r.packages {
		p.deleted = i%demoDeleteEach == 0
	}
	r.a.note("at once: %s is decommissioned, %d extents are deleted, %s stops without a word", demoLeaving, len(r.deleted()), demoLost)
	var failed [2]error
	var both sync.WaitGroup
	both.Go(func() { failed[0] = r.decommission(ctx) })
	both.Go(func() { failed[1] = r.delete(ctx) })
	r.cell.lose(demoLost)
	both.Wait()
	if err := errors.Join(failed[:]...); err != nil {
		return err
	}
	if err := r.seal(ctx); err != nil {
		return err
	}
	return r.recovered(ctx)
}

func (r *replay) deleted() []*demoPackage { return r.chosen(true) }

func (r *replay) kept() []*demoPackage { return r.chosen(false) }

func (r *replay) chosen(deleted bool) []*demoPackage {
	var some []*demoPackage
	for _, p := range r.packages {
		if p.deleted == deleted {
			some = append(some, p)
		}
	}
	return some
}

func (r *replay) decommission(ctx context.Context) error {
	ops, err := submitAll(ctx, r.cell.client(demoLeaving), []wire.Submission{{Kind: "decommission", Node: demoLeaving}})
	if err == nil {
		r.leaving = ops[0]
	}
	return err
}

func (r *replay) delete(ctx context.Context) error {
	var subs []wire.Submission
	for _, p := range r.deleted() {
		subs = append(subs, wire.Submission{Kind: "delete", Extent: p.extent})
	}
	var err error
	r.deletes, err = submitAll(ctx, r.cell.client(devID(0)), subs)
	return err
}

// seal ends all writing, since only a sealed extent is repaired or moved. The cell does the same for
// those that it has to move or repair, whoever comes first.
func (r *replay) seal(ctx context.Context) error {
	open, err := r.extents(ctx)
	if err != nil {
		return err
	}
	var subs []wire.Submission
	for _, p := range r.kept() {
		if open[p.extent].State == "open" {
			subs = append(subs, wire.Submission{Kind: "seal", Extent: p.extent})
		}
	}
	_, err = submitAll(ctx, r.cell.client(devID(0)), subs)
	return err
}

// extents is what the cell knows of all extents, by ID.
func (r *replay) extents(ctx context.Context) (map[uint64]wire.Extent, error) {
	all := map[uint64]wire.Extent{}
	for e, err := range r.cell.client(devID(0)).Extents(ctx, wire.ExtentsRequest{}) {
		if err != nil {
			return nil, err
		}
		all[e.ID] = e
	}
	return all, nil
}

// recovered waits until every extent that is left has its replicas again, none of them on the node that
// leaves or on the one that is lost, and the cell says that the first is safe to remove.
func (r *replay) recovered(ctx context.Context) error {
	kept := r.kept()
	bar := r.a.newProgress("extents safe", "")
	defer bar.end()
	err := await(ctx, "the repairs and moves", func() (bool, string, error) {
		known, err := r.extents(ctx)
		if err != nil {
			return false, "", err
		}
		safe, why := 0, ""
		for _, p := range kept {
			if lacks := lacking(known[p.extent]); lacks != "" {
				why = lacks
			} else {
				safe++
			}
		}
		bar.set(int64(safe), int64(len(kept)))
		return safe == len(kept), fmt.Sprintf("%d of %d extents have their replicas; %s", safe, len(kept), why), nil
	})
	if err != nil {
		return err
	}
	bar.end()
	return r.emptied(ctx)
}

// lacking says what an extent lacks, empty for nothing.
func lacking(e wire.Extent) string {
	switch {
	case e.State != "sealed":
		return fmt.Sprintf("extent %d is %q, operations %v", e.ID, e.State, e.Ops)
	case e.Live < e.Want:
		return fmt.Sprintf("extent %d has %d of %d replicas, operations %v", e.ID, e.Live, e.Want, e.Ops)
	}
	for _, r := range e.Replicas {
		if r.Node == demoLeaving || r.NodeState != "up" {
			return fmt.Sprintf("extent %d has a replica on %s, operations %v", e.ID, r.Node, e.Ops)
		}
	}
	return ""
}

func (r *replay) emptied(ctx context.Context) error {
	c := r.cell.client(devID(0))
	ops, err := c.Wait(ctx, []string{r.leaving}, nil)
	if err != nil {
		return err
	}
	if err := opsError(ops); err != nil {
		return err
	}
	n, err := findNode(ctx, c, demoLeaving)
	if err == nil && !n.SafeRemove {
		r.found.add(exitFailed, "%s is %s and not safe to remove, although its decommission is done", n.ID, n.Mode)
	}
	return err
}

// lostReturns starts the lost node again, and waits until it has dropped what was deleted or repaired
// elsewhere while it was away.
func (r *replay) lostReturns(ctx context.Context) error {
	r.a.note("%s is safe to remove; %s is started again", demoLeaving, demoLost)
	if err := r.cell.again(ctx, demoLost); err != nil {
		return err
	}
	err := r.cell.awaitNodes(ctx, "every node to confirm its drops", func(n wire.Node) bool {
		return n.State == "up" && n.Dropping == 0
	})
	if err != nil {
		return err
	}
	ops, err := r.cell.client(devID(0)).Wait(ctx, r.deletes, nil)
	if err != nil {
		return err
	}
	return opsError(ops)
}

const (
	// demoRounds bounds how often an operation is asked for again that the cell could not decide then.
	demoRounds = 20
)

// submitAll asks for operations until each is admitted, or no longer needed since it was done already.
// It gives the operations' IDs.
func submitAll(ctx context.Context, c *client.Client, subs []wire.Submission) ([]string, error) {
	var ids []string
	for range demoRounds {
		answers, err := c.Submit(ctx, subs, client.SubmitOptions{})
		if err != nil {
			return ids, err
		}
		var again []wire.Submission
		for i, s := range answers {
			switch err := client.Refusal(s); wire.CodeOf(err) {
			case 0:
				ids = append(ids, s.Op)
			case wire.CodeNotFound, wire.CodePrecondition: // it is deleted, or sealed
			case wire.CodeUnavailable, wire.CodeExhausted:
				again = append(again, subs[i])
			default:
				return ids, fmt.Errorf("%s: %w", subs[i].Kind, err)
			}
		}
		if subs = again; len(subs) == 0 {
			return ids, nil
		}
	}
	return ids, withCode(exitUnavailable, "%d operations were not admitted in %d rounds", len(subs), demoRounds)
}
