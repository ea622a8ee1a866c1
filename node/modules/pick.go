package modules

import (
	"fmt"
	"strings"

	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/wire"
)

const (
	digestPrefix = "sha256:"
	// shownDigits of a digest tell policies apart for people.
	shownDigits = 12
	// maxShown is how many policies an error lists, and maxShownConfig how much of a configuration.
	maxShown       = 5
	maxShownConfig = 60
)

// Pick finds a loaded policy by its digest, the first digits of that, or its name.
// Versions of a policy share its name, and so does one module with several configurations. Then the error lists them
// with their digests: to take the newest would be to guess, and what decides for a cell is not to be guessed.
func Pick(all []wire.Policy, want string) (wire.Policy, error) {
	var found []wire.Policy
	digits := strings.TrimPrefix(want, digestPrefix)
	for _, p := range all {
		if digits != "" && (strings.HasPrefix(strings.TrimPrefix(p.Digest, digestPrefix), digits) || p.Name == want) {
			found = append(found, p)
		}
	}
	switch len(found) {
	case 0:
		return wire.Policy{}, wire.Errorf(wire.OpPolicies, wire.CodeNotFound,
			"no loaded policy is called %q; see policy ls, or load it first", want)
	case 1:
		return found[0], nil
	}
	return wire.Policy{}, wire.Errorf(wire.OpPolicies, wire.CodeInvalid,
		"%q means %d loaded policies; name one by its digest: %s", want, len(found), candidates(found))
}

// candidates lists policies by what tells them apart.
func candidates(found []wire.Policy) string {
	var all []string
	for _, p := range found[:min(len(found), maxShown)] {
		config := "no configuration"
		if len(p.Config) > 0 {
			config = policies.ConfigText(p.Config)
		}
		if len(config) > maxShownConfig {
			config = strings.ToValidUTF8(config[:maxShownConfig], "") + "…"
		}
		digits := strings.TrimPrefix(p.Digest, digestPrefix)
		digits = digits[:min(len(digits), shownDigits)]
		all = append(all, fmt.Sprintf("%s (%s %s, %s, %s)", digits, p.Name, p.Version, config, p.State))
	}
	if more := len(found) - maxShown; more > 0 {
		all = append(all, fmt.Sprintf("and %d more, see policy ls", more))
	}
	return strings.Join(all, ", ")
}
