package plugins

import (
	"bytes"
	_ "embed" // for the default policy
)

//go:embed default/default.wasm
var defaultModule []byte // never written to

// Default is the default policy as a module, built from default/default.c by .ci/wasm. It answers
// exactly what policies.Native answers.
func Default() []byte { return bytes.Clone(defaultModule) }
