package state

import (
	"fmt"
	"strings"

	"github.com/datanode/datanode/policies"
)

// KindSet is a set of kinds of operations: the bit of each is its number. Bit 0 is no kind's.
type KindSet uint16

// Kinds is the set of kinds.
func Kinds(kinds ...policies.Kind) (s KindSet) {
	for _, k := range kinds {
		s |= 1 << min(k, maxKind+1)
	}
	return s
}

// Has reports whether k is in the set.
func (s KindSet) Has(k policies.Kind) bool { return k <= maxKind && s&Kinds(k) != 0 }

// String is the kinds in the order of their numbers: "move,decommission".
func (s KindSet) String() string {
	var words []string
	for k := policies.KindCreate; k <= maxKind; k++ {
		if s.Has(k) {
			words = append(words, k.String())
		}
	}
	return strings.Join(words, ",")
}

// parseKinds reads a list of kinds, which must all be among allowed. what says of what they are.
func parseKinds(text, what string, allowed KindSet) (s KindSet, err error) {
	for _, word := range strings.Split(text, ",") {
		k, ok := policies.ParseKind(strings.ToLower(strings.TrimSpace(word)))
		switch {
		case !ok:
			return 0, fmt.Errorf("there is no kind of operation %q; want %s of %s", word, what, allowed)
		case !allowed.Has(k):
			return 0, fmt.Errorf("%s cannot be held back: clients wait for it, or it ends at once; want %s of %s", k, what,
				allowed)
		}
		s |= Kinds(k)
	}
	return s, nil
}
