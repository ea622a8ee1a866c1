package main

import (
	"context"
	"fmt"
	"os"
	"os/user"
	"strings"
	"time"

	"github.com/datanode/datanode/cmd/datanode/internal/cli"
	"github.com/datanode/datanode/cmd/datanode/internal/exit"
	"github.com/datanode/datanode/cmd/datanode/internal/term"
	"github.com/datanode/datanode/node"
	"github.com/spf13/cobra"
)

// recovering are the flags of recover.
type recovering struct {
	work
	dirs, addresses, voters []string
	emptyLog                bool
}

func newRecoverCommand(a app) *cobra.Command {
	r := &recovering{work: work{a: a}}
	cmd := &cobra.Command{
		Use:   "recover --dir DIR[,…] (--addresses ID=HOST:PORT,… | --voters ID,… | --empty-log)",
		Short: "Bring back a cell that cannot help itself, in the folders of stopped nodes", Args: cli.Takes(0, 0),
		Long: `Bring back a cell that cannot help itself, in the folders of its stopped nodes.

--addresses tells folders where the nodes of the cell are from now on, when all have moved at once. It changes nothing
in a log, and nothing can be lost by it. Do it with every folder, then start the nodes.

--voters gives the vote to nodes that are left, when a majority is lost for good. What only the lost ones had is lost
with them. It appends to the log of the node whose log is newest; look at all that is left, on each machine, with
--dry-run and no more flags, and take that one. The others follow it when they are started. See docs/disasters.md.

--empty-log is for a folder whose operation log was removed or emptied. The node begins with an empty log that the
others fill. It has neither a vote nor the right to lead until it holds again whatever it may have acknowledged; that
takes a majority of the others. Its extents stay.

--dry-run says what the folders hold and what would be done, and changes nothing.`,
		Example: `  datanode recover --dir /srv/n1 --dry-run
  datanode recover --dir /srv/n1 --addresses n1=10.0.1.1:7400,n2=10.0.1.2:7400,n3=10.0.1.3:7400
  datanode recover --dir /srv/n1 --voters n1
  datanode recover --dir /srv/n2 --empty-log`,
		RunE: func(cmd *cobra.Command, _ []string) error { return r.run(cmd.Context()) },
	}
	flags := cmd.Flags()
	flags.StringSliceVar(&r.dirs, "dir", nil, "data folders of stopped nodes")
	flags.StringSliceVar(&r.addresses, "addresses", nil, "where nodes are from now on, ID=HOST:PORT,…")
	flags.StringSliceVar(&r.voters, "voters", nil, "the nodes that alone have a vote from now on")
	flags.BoolVar(&r.emptyLog, "empty-log", false,
		"begin with an empty log, without a vote until the others have filled it")
	flags.BoolVar(&r.dryRun, "dry-run", false, "only say what is there and what would be done")
	flags.BoolVar(&r.yes, "yes", false, "do not ask")
	return cmd
}

// options checks the flags.
func (r *recovering) options() (node.RecoverOptions, error) {
	o := node.RecoverOptions{Dirs: r.dirs, Voters: r.voters, Now: time.Now(), Note: recoveredBy()}
	switch {
	case len(r.dirs) == 0:
		return o, exit.Usagef("recover needs --dir, the data folder of a stopped node; see datanode recover --help")
	case len(r.addresses) > 0 && len(r.voters) > 0 || r.emptyLog && len(r.addresses)+len(r.voters) > 0:
		return o, exit.Usagef("--addresses, --voters and --empty-log: want one of them at a time")
	}
	var err error
	o.Addresses, err = parsePeers("--addresses", r.addresses)
	return o, err
}

// recoveredBy says who did it, for the record in the log.
func recoveredBy() string {
	who, where := "somebody", "somewhere"
	if u, err := user.Current(); err == nil {
		who = u.Username
	}
	if h, err := os.Hostname(); err == nil {
		where = h
	}
	return fmt.Sprintf("by %s on %s", who, where)
}

func (r *recovering) run(ctx context.Context) error {
	o, err := r.options()
	if err != nil {
		return err
	}
	if r.emptyLog {
		return r.beginLogAnew(ctx)
	}
	plan, err := node.PlanRecovery(o)
	if plan != nil && len(plan.Folders) > 0 {
		if err := r.printFolders(plan.Folders); err != nil {
			return err
		}
	}
	nothing := len(o.Addresses) == 0 && len(o.Voters) == 0
	switch {
	case err != nil:
		return err
	case nothing && r.dryRun:
		return nil
	case nothing:
		return exit.Usagef(
			"say what to do: --addresses, or --voters with %s, whose log is the newest of these; --dry-run alone only looks",
			plan.Newest())
	}
	for _, s := range plan.Steps {
		r.a.Note("%s", term.OneLine(s))
	}
	if r.dryRun {
		return nil
	}
	if err := r.confirm(ctx, nil, plan.Confirm, "This cannot be taken back"); err != nil {
		return err
	}
	if err := plan.Carry(); err != nil {
		return err
	}
	r.a.Note("done; nothing else in the folders was changed")
	return nil
}

func (r *recovering) printFolders(folders []node.RecoverFolder) error {
	return term.List(r.a.Terminal, term.Items(folders),
		term.Col("NODE", func(f node.RecoverFolder) string { return f.Node }),
		term.Col("CELL", func(f node.RecoverFolder) string { return f.Cell }),
		term.Col("LAST", func(f node.RecoverFolder) string { return term.Count(f.Last) }),
		term.Col("OF-TERM", func(f node.RecoverFolder) string { return term.Count(f.LastTerm) }),
		term.Col("CHAIN", func(f node.RecoverFolder) string { return f.Chain }),
		term.Col("MEMBERS", func(f node.RecoverFolder) string { return strings.Join(f.Members, ",") }),
		term.Col("DIR", func(f node.RecoverFolder) string { return f.Dir }))
}
