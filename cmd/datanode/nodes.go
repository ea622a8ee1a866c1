package main

import (
	"context"
	"fmt"

	"github.com/datanode/datanode/cmd/datanode/internal/cli"
	"github.com/datanode/datanode/wire/client"
)

// nodeAddr is the address of a node by ID; empty for empty.
func nodeAddr(ctx context.Context, c *client.Client, id string) (string, error) {
	if id == "" {
		return "", nil
	}
	n, err := cli.FindNode(ctx, c, id)
	return n.Addr, err
}

// ofNode names the node that a call was for, if it was for one.
func ofNode(id string, err error) error {
	if id == "" {
		return err
	}
	return fmt.Errorf("%s: %w", id, err)
}
