package modules

import (
	"context"

	"github.com/datanode/datanode/policies"
)

// MaxModuleBytes bounds a policy module: what any gate lets pass.
const MaxModuleBytes = 8 << 20

// Host compiles policy modules. It is how the plugins come in without being imported.
type Host interface {
	// Compile checks and compiles a module that gets config, which may be empty and is not written
	// to, and refuses it if it takes more than a budget when it is tried out. The error is for the person who
	// loads it: one line. It is a *wire.Error with CodeEnvelope when the
	// module is refused; what fails in another way may succeed later, and is tried again. What counts its
	// work is a Metered policy. It may be called from several goroutines at once.
	Compile(
		ctx context.Context, module []byte, config map[string]string, budget policies.Budget,
	) (policies.Policy, error)
}

// Metered is a policy whose work is counted.
type Metered interface {
	policies.Policy
	// Within is the policy held to a budget: a call that takes more fails, on every node at the same
	// place, and the error names the setting to raise. It costs nothing, and shares all else with the policy.
	Within(budget policies.Budget) policies.Policy
}

// Closer is a policy that holds memory.
type Closer interface {
	policies.Policy
	// Close frees it, after the calls that run. Calls after it fail.
	Close(ctx context.Context) error
}

// Counted is a policy that counts what it likes.
type Counted interface {
	policies.Policy
	// Counters is a copy of what it has counted here, by name.
	Counters() map[string]int64
}
