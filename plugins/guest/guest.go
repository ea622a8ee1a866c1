// Package guest is what the author of a policy imports. A policy is two functions of facts and a
// table of reasons:
//
//	var _ = guest.Register(guest.Policy{
//		Name: "gold-first", Version: "1",
//		Reasons: []string{"gold", "the rest"}, // reasons 1 and 2
//		Score: func(f *guest.Facts) (int32, guest.Reason) {
//			if f.ClassString() == "gold" {
//				return 100, 1
//			}
//			return 0, 2
//		},
//		Conflict: ...,
//	})
//
//	func main() {} // never run
//
// built with
//
//	GOOS=wasip1 GOARCH=wasm go build -trimpath -buildmode=c-shared -ldflags='-s -w' -o policy.wasm .
//
// Both functions must answer from their arguments and the configuration alone: no variables that
// change, no maps that are ranged over, no time, no randomness. The host asks twice, in another
// order and in a fresh instance, and refuses a policy whose answers differ.
//
// The package uses the standard library only. It also builds outside of a module, where a policy's
// functions can be tested like any others; Config, Log and Count do nothing there.
package guest

import "strconv"

// Reason is a line of Policy.Reasons, counted from 1. 0 is "unspecified".
type Reason uint16

// ClassString is the class tag without its padding.
func (f *Facts) ClassString() string {
	n := 0
	for n < len(f.Class) && f.Class[n] != 0 {
		n++
	}
	return string(f.Class[:n])
}

// MissingReplicas is how many live replicas the extent is short of.
func (f *Facts) MissingReplicas() int {
	return max(0, int(f.WantReplicas)-int(f.LiveReplicas))
}

// Policy is a policy as its author writes it.
type Policy struct {
	// Name and Version are shown wherever a decision is explained: a-z, 0-9, - and . only.
	Name    string
	Version string
	// Reasons are one line each. The first one is reason 1.
	Reasons []string
	// Score gives a priority: the higher starts first, equal ones in the order of their IDs.
	Score func(f *Facts) (priority int32, reason Reason)
	// Conflict judges between two operations on the same extent or node. sameNode tells for moves
	// and decommissions whether both take from the same node.
	Conflict func(existing, incoming *Facts, sameNode bool) (Verdict, Reason)
	// ConfigSchema is a JSON schema of what Config is asked for. Optional.
	ConfigSchema string
}

// registered is the policy of this module. It is a variable because the exports of a module are
// plain functions; it is set once, before any of them is called.
var registered Policy

// Register makes p the policy of the module. Call it once, in the initializer of a package variable:
// a module has no main that runs.
func Register(p Policy) struct{} {
	if p.Score == nil || p.Conflict == nil {
		panic("guest: a policy needs both Score and Conflict")
	}
	registered = p
	return struct{}{}
}

// describe is the JSON that the host reads when it loads the module.
func (p *Policy) describe() []byte {
	buf := append([]byte(nil), `{"name":`...)
	buf = strconv.AppendQuote(buf, p.Name)
	buf = append(buf, `,"version":`...)
	buf = strconv.AppendQuote(buf, p.Version)
	buf = append(buf, `,"reasons":["unspecified"`...)
	for _, reason := range p.Reasons {
		buf = strconv.AppendQuote(append(buf, ','), reason)
	}
	buf = append(buf, ']')
	if p.ConfigSchema != "" {
		buf = append(append(buf, `,"config":`...), p.ConfigSchema...)
	}
	return append(buf, '}')
}
