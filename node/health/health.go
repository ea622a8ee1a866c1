// Package health is the checks of a node: conditions of its readiness, and what its operator should know. A check is
// made when somebody asks, over HTTP or in a call; nothing here has a goroutine, a lock or a state.
package health

import (
	"fmt"
	"time"
)

// Limit bounds one look at all checks.
const Limit = 3 * time.Second

// The levels of a check. They are words of an interface: never changed, only appended.
const (
	OK    = "OK"
	Warn  = "WARN"
	Error = "ERR"
)

// Check is one condition. Its fields are those of /readyz?verbose.
type Check struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail,omitempty"`
	// Advisory: the node is ready also when it is not OK.
	Advisory bool `json:"advisory,omitempty"`
	// Level is OK, WARN or ERR. Empty until all checks are made: see Levels.
	Level string `json:"level"`
}

// Of is a check that an error fails.
func Of(name string, err error) Check {
	if err != nil {
		return Check{Name: name, Detail: err.Error()}
	}
	return Check{Name: name, OK: true}
}

func warning(name, format string, args ...any) Check {
	return Check{Name: name, Level: Warn, Detail: fmt.Sprintf(format, args...), Advisory: true}
}

// Levels gives the checks that have no level the one that follows from the rest of them.
func Levels(checks []Check) []Check {
	for i := range checks {
		checks[i].Level = checks[i].level()
	}
	return checks
}

func (c Check) level() string {
	switch {
	case c.Level != "":
		return c.Level
	case c.OK:
		return OK
	case c.Advisory:
		return Warn
	}
	return Error
}

// Ready reports whether a node with these checks is ready.
func Ready(checks []Check) bool {
	for _, c := range checks {
		if !c.OK && !c.Advisory {
			return false
		}
	}
	return true
}
