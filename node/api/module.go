package api

import (
	"context"
	"errors"
	"io"

	"github.com/datanode/datanode/node/modules"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// ServePolicyFetch sends a module's bytes to a node that lacks them.
func (a *API) ServePolicyFetch(ctx context.Context, c *mux.ServerCall, req wire.PolicyRequest) error {
	if !a.o.Modules.Has(req.Digest) {
		return wire.Errorf(c.Op(), wire.CodeNotFound, "%s does not have the module %s", a.o.Node, req.Digest)
	}
	module, err := a.o.Modules.Read(req.Digest)
	if err != nil {
		return err
	}
	if err := c.Send(module); err != nil {
		return err
	}
	return c.Reply(nil, nil)
}

// FetchModule gets a module's bytes from the node at the other end of a connection. They are not compared with the
// digest here. The error is that node's answer, the connection's or the context's.
func FetchModule(ctx context.Context, from *mux.Conn, digest string) ([]byte, error) {
	stream, err := from.Open(ctx, mux.Request{
		Op: wire.OpPolicyFetch, Session: wire.SessionControl, Body: &wire.PolicyRequest{Digest: digest},
	})
	if err != nil {
		return nil, err
	}
	defer stream.Close()
	return collect(stream.Recv, modules.MaxModuleBytes)
}

// collect reads chunks to the end, up to limit bytes.
func collect(recv func() ([]byte, error), limit int) ([]byte, error) {
	var all []byte
	for {
		p, err := recv()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		if len(all)+len(p) > limit {
			return nil, wire.Errorf(0, wire.CodeInvalid, "more than %d bytes", limit)
		}
		all = append(all, p...)
	}
}
