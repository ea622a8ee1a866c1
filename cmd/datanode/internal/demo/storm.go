package demo

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/datanode/datanode/cmd/datanode/internal/cli"
	"github.com/datanode/datanode/cmd/datanode/internal/exit"
	"github.com/datanode/datanode/cmd/datanode/internal/local"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/client"
)

// storm decommissions a node, deletes a third of the extents and loses another node, all at once, and
// waits until the cell has recovered from it while that node is still away.
func (r *Replay) storm(ctx context.Context) error {
	for i, p := range r.Packages {
		p.Deleted = i%deleteEach == 0
	}
	r.App.Note("at once: %s is decommissioned, %d extents are deleted, %s stops without a word", Leaving, len(r.deleted()),
		lost)
	var failed [3]error
	var all sync.WaitGroup
	all.Go(func() { failed[0] = r.Decommission(ctx) })
	all.Go(func() { failed[1] = r.Delete(ctx, waves()) })
	all.Go(func() { failed[2] = r.Seal(ctx) })
	r.Cell.Lose(lost)
	all.Wait()
	if err := errors.Join(failed[:]...); err != nil {
		return err
	}
	return r.Recovered(ctx)
}

func (r *Replay) deleted() []*Package { return r.chosen(true) }

func (r *Replay) kept() []*Package { return r.chosen(false) }

func (r *Replay) chosen(deleted bool) []*Package {
	var some []*Package
	for _, p := range r.Packages {
		if p.Deleted == deleted {
			some = append(some, p)
		}
	}
	return some
}

func (r *Replay) Decommission(ctx context.Context) error {
	ops, err := submitAll(ctx, r.Cell.Client(Leaving), []wire.Submission{{Kind: "decommission", Node: Leaving}})
	if err == nil {
		r.leaving = ops[0]
	}
	return err
}

// waves are when deletes come: at once, when moves run, and when repairs run, since a delete that
// ends a copy half way is what once went wrong.
func waves() []string { return []string{"", "move", "repair"} }

// Delete deletes in as many waves as there are kinds of operations to wait for; "" is none.
func (r *Replay) Delete(ctx context.Context, after []string) error {
	c := r.Cell.Client(local.ID(0))
	waves := make([][]wire.Submission, len(after))
	for i, p := range r.deleted() {
		waves[i%len(waves)] = append(waves[i%len(waves)], wire.Submission{Kind: "delete", Extent: p.Extent})
	}
	for i, kind := range after {
		if err := r.seen(ctx, c, kind); err != nil {
			return err
		}
		ids, err := submitAll(ctx, c, waves[i])
		if err != nil {
			return err
		}
		r.Deletes = append(r.Deletes, ids...)
	}
	return nil
}

// seen waits until an operation of a kind has started, if one is named, or there is no need for any.
func (r *Replay) seen(ctx context.Context, c *client.Client, kind string) error {
	if kind == "" {
		return nil
	}
	return local.Await(ctx, "a "+kind+" to start", func() (bool, string, error) {
		for op, err := range c.Ops(ctx, wire.OpsRequest{After: r.created}) {
			if err != nil {
				return false, "", err
			}
			if op.Kind == kind && op.State != "queued" {
				return true, "", nil
			}
		}
		why, err := r.unsafe(ctx)
		return why == "" && err == nil, why, err
	})
}

// unsafe says what one of the extents that are not deleted lacks, empty for nothing.
func (r *Replay) unsafe(ctx context.Context) (why string, err error) {
	known, err := r.extents(ctx)
	for _, e := range known {
		if lacks := lacking(e); lacks != "" && e.State != "deleted" {
			return lacks, err
		}
	}
	return "", err
}

// Seal ends all writing, since only a sealed extent is repaired or moved. The cell does the same for
// those that it has to move or repair, whoever comes first.
func (r *Replay) Seal(ctx context.Context) error {
	var subs []wire.Submission
	for _, p := range r.Packages {
		subs = append(subs, wire.Submission{Kind: "seal", Extent: p.Extent})
	}
	_, err := submitAll(ctx, r.Cell.Client(local.ID(r.Options.Nodes-1)), subs)
	return err
}

// extents is what the cell knows of all extents, by ID.
func (r *Replay) extents(ctx context.Context) (map[uint64]wire.Extent, error) {
	all := map[uint64]wire.Extent{}
	for e, err := range r.Cell.Client(local.ID(0)).Extents(ctx, wire.ExtentsRequest{}) {
		if err != nil {
			return nil, err
		}
		all[e.ID] = e
	}
	return all, nil
}

// Recovered waits until every extent that is left has its replicas again, none of them on the node that
// leaves or on the one that is lost, and the cell says that the first is safe to remove.
func (r *Replay) Recovered(ctx context.Context) error {
	kept := r.kept()
	bar := r.App.NewProgress("extents safe", "")
	defer bar.End()
	err := local.Await(ctx, "the repairs and moves", func() (bool, string, error) {
		known, err := r.extents(ctx)
		if err != nil {
			return false, "", err
		}
		safe, why := 0, ""
		for _, p := range kept {
			if lacks := lacking(known[p.Extent]); lacks != "" {
				why = lacks
			} else {
				safe++
			}
		}
		bar.Set(int64(safe), int64(len(kept)))
		return safe == len(kept), fmt.Sprintf("%d of %d extents have their replicas; %s", safe, len(kept), why), nil
	})
	if err != nil {
		return err
	}
	bar.End()
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
		if r.Node == Leaving || r.NodeState != "up" {
			return fmt.Sprintf("extent %d has a replica on %s, operations %v", e.ID, r.Node, e.Ops)
		}
	}
	return ""
}

func (r *Replay) emptied(ctx context.Context) error {
	c := r.Cell.Client(local.ID(0))
	ops, err := c.Wait(ctx, []string{r.leaving}, nil)
	if err != nil {
		return err
	}
	if err := cli.OpsError(ops); err != nil {
		return err
	}
	n, err := cli.FindNode(ctx, c, Leaving)
	if err == nil && !n.SafeRemove {
		r.Found.add(exit.Failed, "%s is %s and not safe to remove, although its decommission is done", n.ID, n.Mode)
	}
	return err
}

// lostReturns starts the lost node again, and waits until it has dropped what was deleted or repaired
// elsewhere while it was away.
func (r *Replay) lostReturns(ctx context.Context) error {
	r.App.Note("%s is safe to remove; %s is started again", Leaving, lost)
	if err := r.Cell.Again(ctx, lost); err != nil {
		return err
	}
	err := r.Cell.AwaitNodes(ctx, "every node to confirm its drops", func(n wire.Node) bool {
		return n.State == "up" && n.Dropping == 0
	})
	if err != nil {
		return err
	}
	ops, err := r.Cell.Client(local.ID(0)).Wait(ctx, r.Deletes, nil)
	if err != nil {
		return err
	}
	return cli.OpsError(ops)
}

// rounds bounds how often an operation is asked for again that the cell could not decide then.
const rounds = 20

// submitAll asks for operations until each is admitted, and gives their IDs. Seals may be refused.
func submitAll(ctx context.Context, c *client.Client, subs []wire.Submission) ([]string, error) {
	var ids []string
	for range rounds {
		answers, err := c.Submit(ctx, subs, client.SubmitOptions{})
		if err != nil {
			return ids, err
		}
		var again []wire.Submission
		for i, s := range answers {
			switch err := client.Refusal(s); {
			case err == nil:
				ids = append(ids, s.Op)
			case s.Code == wire.CodeUnavailable || s.Code == wire.CodeExhausted:
				again = append(again, subs[i])
			case subs[i].Kind != "seal": // one is refused when the extent is sealed, or being deleted
				return ids, fmt.Errorf("%s of extent %d: %w", subs[i].Kind, subs[i].Extent, err)
			}
		}
		if subs = again; len(subs) == 0 {
			return ids, nil
		}
	}
	return ids, exit.With(exit.Unavailable, "%d operations were not admitted in %d rounds", len(subs), rounds)
}
