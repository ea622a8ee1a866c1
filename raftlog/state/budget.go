package state

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"

	"github.com/datanode/datanode/policies"
)

// The bounds. With the least, small policies still answer, and grow their memory by a few pages; beyond the most, a
// policy could stop a node: a unit takes 4 ns at the worst, and a call that takes longer than a second is given up, as
// is a leader that is not heard of for as long. With the most, 256 records take 0.8 s at the worst. Starting may take
// five times as long.
const (
	leastBatchBudget, mostBatchBudget   = 1 << 10, 128 << 20
	leastRecordBudget, mostRecordBudget = 1 << 10, 256 << 10
	leastStartBudget, mostStartBudget   = 1 << 20, 512 << 20
)

// MostBudget is as much as settings can allow.
func MostBudget() policies.Budget {
	return policies.Budget{Batch: mostBatchBudget, Record: mostRecordBudget, Start: mostStartBudget}
}

// Budget is what policies are held to. Every change of it makes another policy epoch: so a decision on record had the
// budget that was in force where its entry applied.
func (s *Settings) Budget() policies.Budget {
	return policies.Budget{Batch: s.PolicyBatchBudget, Record: s.PolicyRecordBudget, Start: s.PolicyStartBudget}
}

// orDefault is s with what it does not have: it may be of a snapshot that was written before there was such a
// setting. 0 is none of the values that it can be set to.
func (s Settings) orDefault() Settings {
	d := DefaultSettings()
	s.PolicyBatchBudget = cmp.Or(s.PolicyBatchBudget, d.PolicyBatchBudget)
	s.PolicyRecordBudget = cmp.Or(s.PolicyRecordBudget, d.PolicyRecordBudget)
	s.PolicyStartBudget = cmp.Or(s.PolicyStartBudget, d.PolicyStartBudget)
	return s
}

func budgetTable() []setting {
	return []setting{
		units("policy-batch-budget", "metered work a policy may do in one call, in units", leastBatchBudget, mostBatchBudget,
			"less would answer nothing, more could take longer than the second that a call has",
			func(s *Settings) *uint64 { return &s.PolicyBatchBudget }),
		units("policy-record-budget", "and for each of the up to 256 records of the call besides", leastRecordBudget,
			mostRecordBudget,
			"less would answer nothing, more could take longer than the second that a call has",
			func(s *Settings) *uint64 { return &s.PolicyRecordBudget }),
		units("policy-start-budget", "metered work of each call that starts an instance of a policy, in units",
			leastStartBudget, mostStartBudget,
			"less would start nothing, more could keep a node from all else for seconds",
			func(s *Settings) *uint64 { return &s.PolicyStartBudget }),
	}
}

// units is a setting that counts metered work. why says what is wrong with less and with more.
func units(key, help string, low, high uint64, why string, field func(*Settings) *uint64) setting {
	return setting{
		key: key, help: help,
		get: func(s *Settings) string { return UnitsText(*field(s)) },
		set: func(s *Settings, v string) error {
			n, ok := parseUnits(v)
			if !ok || n < low || n > high {
				return fmt.Errorf("%s must be from %s (%d) to %s units, not %q: %s", key, UnitsText(low), low, UnitsText(high), v,
					why)
			}
			*field(s) = n
			return nil
		},
	}
}

// suffixes are what numbers of units may end in, the largest first.
func suffixes() []suffix { return []suffix{{"Gi", 30}, {"Mi", 20}, {"Ki", 10}} }

type suffix struct {
	text string
	bits int
}

// UnitsText is a number as it can be given to a setting: 32Mi for 33554432.
func UnitsText(n uint64) string {
	for _, s := range suffixes() {
		if n != 0 && n%(1<<s.bits) == 0 {
			return strconv.FormatUint(n>>s.bits, 10) + s.text
		}
	}
	return strconv.FormatUint(n, 10)
}

// ParseUnits reads what UnitsText writes: a number, or one of Ki, Mi or Gi.
func ParseUnits(text string) (n uint64, ok bool) { return parseUnits(text) }

// parseUnits reads what UnitsText writes, and numbers without a suffix.
func parseUnits(text string) (n uint64, ok bool) {
	bits := 0
	for _, s := range suffixes() {
		if digits, found := strings.CutSuffix(text, s.text); found {
			text, bits = digits, s.bits
			break
		}
	}
	n, err := strconv.ParseUint(text, 10, 64-bits)
	return n << bits, err == nil
}
