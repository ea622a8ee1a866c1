// Package demo replays the failure that this program exists for, in a cell of its own: it stores a tree of files, then
// at once decommissions a node, deletes a third of the extents and stops another node, and in the end compares every
// byte that is left with the original.
//
// The steps of a Replay are called one after the other. Within a step some work in parallel; what they count is
// guarded where it stands. Nothing runs once a step has returned but the nodes.
package demo

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/datanode/datanode/cmd/datanode/internal/cli"
	"github.com/datanode/datanode/cmd/datanode/internal/exit"
	"github.com/datanode/datanode/cmd/datanode/internal/local"
	"github.com/datanode/datanode/cmd/datanode/internal/policyhost"
	"github.com/spf13/cobra"
)

const (
	minNodes   = 4
	voters     = 3
	maxCopies  = 3
	deleteEach = 3 // one extent in so many is deleted

	// Leaving is the node that is decommissioned, lost the one that stops without a word.
	Leaving = "n3"
	lost    = "n2"

	// repairDelay is short, so that the lost node's extents are repaired while it is away.
	repairDelay = "1s"
)

// Options are the flags of demo.
type Options struct {
	Dir, Source  string
	Files, Nodes int
	Keep         bool
	Logs         cli.LogFlags

	// meddle is how tests show that the checks can fail: it is called before the bytes are checked. nil: nothing.
	meddle func(*Replay) error
}

// Command is the command of the demo.
func Command(a *cli.App) *cobra.Command {
	var d Options
	cmd := &cobra.Command{
		Use: "demo", Short: "Replay the founding failure, and verify every byte", Args: cli.Takes(0, 0),
		Long: `Start a cell, store the source tree of Go in it, each package in an extent of its own, and then at once
decommission ` + Leaving + `, delete a third of the extents and stop ` + lost + ` without a word. When the cell has
recovered, every file that is left is read from every replica and compared with the original, every disk is searched
for what was deleted, and the logs of all nodes are compared. Exit code 6 says that bytes or logs differ.`,
		Example: "  datanode demo\n  datanode demo --files 1000 --source ./src --keep",
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := a.Bounded(cmd.Context())
			defer cancel()
			return Run(ctx, a, d)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&d.Dir, "dir", "", "where the cell's data goes, a new folder (default: a temporary one)")
	flags.BoolVar(&d.Keep, "keep", false, "keep the data at the end")
	flags.StringVar(&d.Source, "source", "", "the tree of files to store (default: that of go env GOROOT)")
	flags.IntVar(&d.Files, "files", 0, "how many files to store (default: all)")
	flags.IntVar(&d.Nodes, "nodes", minNodes, "how many nodes; three vote")
	d.Logs.Add(cmd, cli.LogOff)
	return cmd
}

func (d Options) valid() error {
	if d.Nodes < minNodes || d.Nodes > local.MaxNodes {
		return exit.Usagef("--nodes %d: want %d to %d, for two of them go", d.Nodes, minNodes, local.MaxNodes)
	}
	if d.Files < 0 {
		return exit.Usagef("--files %d: want 1 or more, or 0 for all", d.Files)
	}
	return nil
}

// copies is how many replicas there can be when two nodes are gone.
func (d Options) copies() int { return min(maxCopies, d.Nodes-2) }

// demo runs the whole story in a cell of its own.
func Run(ctx context.Context, a *cli.App, d Options) (err error) {
	if err := cmp.Or(d.valid(), a.NoTLS("demo")); err != nil {
		return err
	}
	logger, err := d.Logs.Logger(a.Stderr)
	if err != nil {
		return err
	}
	packages, err := d.Collect(ctx)
	if err != nil {
		return err
	}
	remove, err := d.makeDir()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()
	host, err := policyhost.New(ctx, logger, "")
	if err != nil {
		return err
	}
	defer host.Close(context.WithoutCancel(ctx))
	cell, err := local.Start(ctx, local.Options{
		Dir: d.Dir, Listen: "127.0.0.1:0", Nodes: d.Nodes, Voters: voters, Replicas: d.copies(),
		RepairDelay: repairDelay, Policies: policyhost.For(host), Logger: logger,
	})
	if err != nil {
		return err
	}
	defer cell.Close()
	r := &Replay{App: a, Options: d, Cell: cell, Packages: packages}
	if err := r.run(ctx); err != nil {
		if ctx.Err() != nil {
			a.Note("datanode: stopping the nodes; interrupt again to stop at once")
		}
		return err
	}
	if d.Keep {
		a.Note("the data is in %s", d.Dir)
	}
	return r.conclude()
}

// makeDir makes the data folder, and says how to remove it.
func (d *Options) makeDir() (remove func() error, err error) {
	if d.Dir == "" {
		d.Dir, err = os.MkdirTemp("", "datanode-demo-")
	} else if err = os.Mkdir(d.Dir, 0o700); errors.Is(err, os.ErrExist) {
		return nil, exit.With(exit.Refused, "%s exists; the demo makes its folder itself, and removes it", d.Dir)
	}
	if err != nil {
		return nil, err
	}
	if d.Keep {
		return func() error { return nil }, nil
	}
	return func() error { return os.RemoveAll(d.Dir) }, nil
}

// Replay is one run of the story. Its methods are called one after the other.
type Replay struct {
	App      *cli.App
	Options  Options
	Cell     *local.Cell
	Packages []*Package
	created  string   // the last create
	leaving  string   // the decommission
	Deletes  []string // their operations
	Account  Account
	Found    Findings
}

// run tells the story, step by step.
func (r *Replay) run(ctx context.Context) error {
	for _, step := range []struct {
		name string
		run  func(context.Context) error
		took *time.Duration
	}{
		{"store", r.Store, &r.Account.store},
		{"storm", r.storm, &r.Account.storm},
		{"return", r.lostReturns, &r.Account.back},
		{"check", r.check, &r.Account.check},
	} {
		start := time.Now()
		if err := step.run(ctx); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
		*step.took = time.Since(start)
	}
	return nil
}
