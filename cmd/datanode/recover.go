package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/datanode/datanode/raftlog"
	"github.com/spf13/cobra"
)

// recovery are the flags of recover.
type recovery struct {
	dir      string
	emptyLog bool
	w        *work
}

func newRecoverCommand(a *app) *cobra.Command {
	r := recovery{w: &work{a: a}}
	cmd := &cobra.Command{
		Use: "recover --dir DIR --empty-log", Short: "Bring back the folder of a stopped node", Args: takes(0, 0),
		Long: `Change the data folder of a node that is stopped, so that it can start again.

--empty-log is for a folder whose operation log was removed or emptied. The node begins with an empty log that the others fill. It
has neither a vote nor the right to lead until it holds again whatever it may have acknowledged; that takes a majority of the
others. Its extents stay.`,
		Example: "  datanode recover --dir n2 --empty-log --dry-run\n  datanode recover --dir n2 --empty-log",
		RunE:    func(cmd *cobra.Command, _ []string) error { return r.run(cmd.Context()) },
	}
	flags := cmd.Flags()
	flags.StringVar(&r.dir, "dir", "", "data folder of the node")
	flags.BoolVar(&r.emptyLog, "empty-log", false, "begin with an empty log, without a vote until the others have filled it")
	flags.BoolVar(&r.w.dryRun, "dry-run", false, "only check, and print what would happen")
	flags.BoolVar(&r.w.yes, "yes", false, "do not ask")
	return cmd
}

func (r *recovery) run(ctx context.Context) error {
	switch {
	case r.dir == "":
		return usagef("recover needs --dir; see datanode recover --help")
	case !r.emptyLog:
		return usagef("recover needs to be told what to do: --empty-log; see datanode recover --help")
	}
	node, err := folderNode(r.dir)
	if err != nil {
		return err
	}
	return r.beginLogAnew(ctx, node)
}

// beginLogAnew is recover --empty-log.
func (r *recovery) beginLogAnew(ctx context.Context, node string) error {
	dir := filepath.Join(r.dir, "log")
	if err := raftlog.EmptyLog(dir, time.Now(), true); err != nil {
		return err
	}
	what := fmt.Sprintf("%s begins with an empty log in %s. It has no vote until the others have filled it.", node, dir)
	if r.w.dryRun {
		_, err := fmt.Fprintln(r.w.a.stdout, what+" Nothing was changed.")
		return err
	}
	if err := r.w.confirm(ctx, []plan{{Plan: what}}, node, "The log that was lost must not come back after that"); err != nil {
		return err
	}
	if err := raftlog.EmptyLog(dir, time.Now(), false); err != nil {
		return err
	}
	_, err := fmt.Fprintln(r.w.a.stdout, what+" Start it with the command line that it always had.")
	return err
}

// folderNode is the node that a data folder is of.
func folderNode(dir string) (string, error) {
	path := filepath.Join(dir, "identity.json")
	raw, err := os.ReadFile(path)
	if err != nil {
		return "", fileError(err)
	}
	var id struct{ Node string }
	if err := json.Unmarshal(raw, &id); err != nil || checkNodeID(id.Node) != nil {
		return "", withCode(exitCorrupt, "%s does not say which node the folder is of", path)
	}
	return id.Node, nil
}
