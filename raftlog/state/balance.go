package state

import (
	"fmt"
	"slices"
	"strings"
)

// BalanceWhen says when the cell moves replicas only so that its disks are as full as each other. Numbered by hand:
// part of the snapshot format.
type BalanceWhen uint8

const (
	BalanceOff  BalanceWhen = 0
	BalanceOn   BalanceWhen = 1 // whenever nodes are far apart
	BalanceOnce BalanceWhen = 2 // until they are near each other; the leader sets it off then
)

// KeyBalance is the setting that says when.
const KeyBalance = "balance"

var balanceWords = []string{"off", "on", "once"}

func (w BalanceWhen) String() string { return balanceWords[min(int(w), len(balanceWords)-1)] }

func balance() setting {
	return setting{
		key: KeyBalance, help: "whether replicas are moved so that disks are as full as each other: off, on, or once",
		get: func(s *Settings) string { return s.Balance.String() },
		set: func(s *Settings, v string) error {
			i := slices.Index(balanceWords, strings.TrimSpace(v))
			if i < 0 {
				return fmt.Errorf("%s must be off, on or once, not %q", KeyBalance, v)
			}
			s.Balance = BalanceWhen(i)
			return nil
		},
	}
}
