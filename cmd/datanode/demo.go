package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/spf13/cobra"
)

const (
	minDemoNodes   = 4
	demoVoters     = 3
	maxDemoCopies  = 3
	demoLeaving    = "n3" // is decommissioned
	demoLost       = "n2" // stops without a word
	demoDeleteEach = 3    // one extent in so many is deleted
)

// demonstration are the flags of demo.
type demonstration struct {
	dir, source  string
	files, nodes int
	keep         bool
	logs         logFlags

	// meddle is how tests show that the checks can fail: it is called before the bytes are checked. nil: nothing.
	meddle func(*replay) error
}

func newDemoCommand(a *app) *cobra.Command {
	var d demonstration
	cmd := &cobra.Command{
		Use: "demo", Short: "Replay the founding failure, and verify every byte", Args: takes(0, 0),
		Long: `Start a cell, store the source tree of Go in it, each package in an extent of its own, and then at once
decommission ` + demoLeaving + `, delete a third of the extents and stop ` + demoLost + ` without a word. When the cell has recovered, every
file that is left is read from every replica and compared with the original, every disk is searched for
what was deleted, and the logs of all nodes are compared. Exit code 6 says that bytes or logs differ.`,
		Example: "  datanode demo\n  datanode demo --files 1000 --source ./src --keep",
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := a.bounded(cmd.Context())
			defer cancel()
			return a.demo(ctx, d)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&d.dir, "dir", "", "where the cell's data goes, a new folder (default: a temporary one)")
	flags.BoolVar(&d.keep, "keep", false, "keep the data at the end")
	flags.StringVar(&d.source, "source", "", "the tree of files to store (default: that of go env GOROOT)")
	flags.IntVar(&d.files, "files", 0, "how many files to store (default: all)")
	flags.IntVar(&d.nodes, "nodes", minDemoNodes, "how many nodes; three vote")
	d.logs.add(cmd, logOff)
	return cmd
}

func (d demonstration) valid() error {
	if d.nodes < minDemoNodes || d.nodes > maxDevNodes {
		return usagef("--nodes %d: want %d to %d, for two of them go", d.nodes, minDemoNodes, maxDevNodes)
	}
	if d.files < 0 {
		return usagef("--files %d: want 1 or more, or 0 for all", d.files)
	}
	return nil
}

// copies is how many replicas there can be when two nodes are gone.
func (d demonstration) copies() int { return min(maxDemoCopies, d.nodes-2) }

// demo runs the whole story in a cell of its own.
func (a *app) demo(ctx context.Context, d demonstration) (err error) {
	if err := firstError(d.valid(), a.noTLS("demo")); err != nil {
		return err
	}
	logger, err := d.logs.logger(a.stderr)
	if err != nil {
		return err
	}
	packages, err := d.collect(ctx)
	if err != nil {
		return err
	}
	remove, err := d.makeDir()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()
	host, err := newHost(ctx, logger, "")
	if err != nil {
		return err
	}
	defer host.Close(context.WithoutCancel(ctx))
	cell, err := d.startCell(ctx, logger, policyHost{host})
	if err != nil {
		return err
	}
	defer cell.close()
	r := &replay{a: a, d: d, cell: cell, packages: packages}
	if err := r.run(ctx); err != nil {
		if ctx.Err() != nil {
			a.note("datanode: stopping the nodes; interrupt again to stop at once")
		}
		return err
	}
	if d.keep {
		a.note("the data is in %s", d.dir)
	}
	return r.conclude()
}

// makeDir makes the data folder, and says how to remove it.
func (d *demonstration) makeDir() (remove func() error, err error) {
	if d.dir == "" {
		d.dir, err = os.MkdirTemp("", "datanode-demo-")
	} else if err = os.Mkdir(d.dir, 0o700); errors.Is(err, os.ErrExist) {
		return nil, withCode(exitRefused, "%s exists; the demo makes its folder itself, and removes it", d.dir)
	}
	if err != nil {
		return nil, err
	}
	if d.keep {
		return func() error { return nil }, nil
	}
	return func() error { return os.RemoveAll(d.dir) }, nil
}

// startCell starts the nodes and waits until all of them are up.
func (d *demonstration) startCell(ctx context.Context, logger *slog.Logger, host policyHost) (*demoCell, error) {
	cfgs, err := d.configs(logger, host)
	if err != nil {
		return nil, err
	}
	cell := newDemoCell(cfgs)
	if err := cell.start(ctx); err != nil {
		cell.close()
		return nil, fmt.Errorf("start the cell: %w", err)
	}
	return cell, nil
}

// replay is one run of the story. Its methods are called one after the other.
type replay struct {
	a        *app
	d        demonstration
	cell     *demoCell
	packages []*demoPackage
	created  string   // the last create
	leaving  string   // the decommission
	deletes  []string // their operations
	account  account
	found    findings
}

// run tells the story, step by step.
func (r *replay) run(ctx context.Context) error {
	for _, step := range []struct {
		name string
		run  func(context.Context) error
		took *time.Duration
	}{
		{"store", r.store, &r.account.store},
		{"storm", r.storm, &r.account.storm},
		{"return", r.lostReturns, &r.account.back},
		{"check", r.check, &r.account.check},
	} {
		start := time.Now()
		if err := step.run(ctx); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
		*step.took = time.Since(start)
	}
	return nil
}
