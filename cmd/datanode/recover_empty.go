package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/datanode/datanode/cmd/datanode/internal/exit"
	"github.com/datanode/datanode/raftlog"
)

// beginLogAnew is recover --empty-log.
func (r *recovering) beginLogAnew(ctx context.Context) error {
	if len(r.dirs) != 1 {
		return exit.Usagef("--empty-log is for one --dir at a time")
	}
	node, err := folderNode(r.dirs[0])
	if err != nil {
		return err
	}
	dir := filepath.Join(r.dirs[0], "log")
	if err := raftlog.EmptyLog(dir, time.Now(), true); err != nil {
		return err
	}
	what := fmt.Sprintf("%s begins with an empty log in %s. It has no vote until the others have filled it.", node, dir)
	if r.dryRun {
		_, err := fmt.Fprintln(r.a.Stdout, what+" Nothing was changed.")
		return err
	}
	if err := r.confirm(ctx, []plan{{Plan: what}}, node,
		"The log that was lost must not come back after that"); err != nil {
		return err
	}
	if err := raftlog.EmptyLog(dir, time.Now(), false); err != nil {
		return err
	}
	_, err = fmt.Fprintln(r.a.Stdout, what+" Start it with the command line that it always had.")
	return err
}

// folderNode is the node that a data folder is of.
func folderNode(dir string) (string, error) {
	path := filepath.Join(dir, "identity.json")
	raw, err := os.ReadFile(path)
	if err != nil {
		return "", exit.File(err)
	}
	var id struct{ Node string }
	if err := json.Unmarshal(raw, &id); err != nil || checkNodeID(id.Node) != nil {
		return "", exit.With(exit.Corrupt, "%s does not say which node the folder is of", path)
	}
	return id.Node, nil
}
