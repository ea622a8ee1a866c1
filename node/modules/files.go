package modules

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/datanode/datanode/node/internal/vfs"
	"github.com/datanode/datanode/raftlog/state"
)

// DigestOf is what a module is known by, whatever it is configured with.
func DigestOf(module []byte) string {
	sum := sha256.Sum256(module)
	return digestPrefix + hex.EncodeToString(sum[:])
}

func (r *Registry) path(digest string) string {
	return filepath.Join(r.o.Dir, strings.TrimPrefix(digest, digestPrefix)+".wasm")
}

// Has reports whether a module's bytes are here. Only of such a digest is the path formed for a peer.
func (r *Registry) Has(module string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.modules[module]
}

// Read is a module's bytes as they are on disk. Whether they have the digest is for the caller to check.
func (r *Registry) Read(digest string) ([]byte, error) {
	return vfs.ReadFile(r.o.FS, r.path(digest), MaxModuleBytes)
}

// fetch asks the node that the log names, then all others, for a module's bytes.
func (r *Registry) fetch(ctx context.Context, p *state.LoadPolicy) ([]byte, error) {
	from := []state.NodeID{p.Source}
	r.o.Log.View().Nodes(func(n *state.Node) bool {
		if n.ID != r.o.Node && n.ID != p.Source {
			from = append(from, n.ID)
		}
		return true
	})
	var errs []error
	for _, id := range from {
		module, err := r.fetchFrom(ctx, id, p.ModuleDigest())
		if err == nil {
			return module, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

func (r *Registry) fetchFrom(ctx context.Context, id state.NodeID, digest string) ([]byte, error) {
	module, err := r.o.Fetch(ctx, id, digest)
	if err != nil {
		return nil, err
	}
	if got := DigestOf(module); got != digest {
		return nil, fmt.Errorf("%s sent a module with digest %s for %s", id, got, digest)
	}
	return module, nil
}
