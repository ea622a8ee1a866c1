package state

import (
	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/wire"
)

// CheckClass is asked before a class comes near the log: it ends up in every listing of extents, and in the facts of
// policies, where zeros pad it.
func CheckClass(op wire.OpType, class string) error {
	switch {
	case len(class) > policies.ClassBytes:
		return wire.Errorf(op, wire.CodeInvalid, "class %q is longer than %d bytes", class, policies.ClassBytes)
	case !wire.Plain(class):
		return wire.Errorf(op, wire.CodeInvalid, "class %q: want a tag without control characters, such as gold", class)
	}
	return nil
}
