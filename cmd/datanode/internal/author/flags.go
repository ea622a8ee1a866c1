package author

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/datanode/datanode/cmd/datanode/internal/exit"
	"github.com/datanode/datanode/plugins"
	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/raftlog/state"
)

// offlineFlags are what a policy is given and held to where there is no cell to say so.
type offlineFlags struct {
	config  []string
	budgets map[string]*string // by setting
}

// offline is what the flags come to.
type offline struct {
	config map[string]string
	budget policies.Budget
}

// add adds the flags to a command: --config, and for each budget one that is named like its setting, with
// the same default.
func (f *offlineFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringArrayVar(&f.config, "config", nil, "KEY=VALUE that the policy is told; repeatable")
	f.budgets = map[string]*string{}
	state.DefaultSettings().Each(func(key, value, _ string) {
		switch key {
		case plugins.SettingBatch, plugins.SettingRecord, plugins.SettingStart:
			f.budgets[key] = cmd.Flags().String(strings.TrimPrefix(key, "policy-"), value,
				"units of metered work, as the setting "+key+" of a cell")
		}
	})
}

func (f *offlineFlags) parse() (offline, error) {
	config, err := ParseConfig(f.config)
	if err != nil {
		return offline{}, err
	}
	s := state.DefaultSettings()
	for _, key := range []string{plugins.SettingBatch, plugins.SettingRecord, plugins.SettingStart} {
		if s, err = s.With(key, *f.budgets[key]); err != nil {
			return offline{}, exit.Usagef("%w", err)
		}
	}
	return offline{config, s.Budget()}, nil
}

// ParseConfig reads KEY=VALUE pairs. What the cell will take of them is its own business.
func ParseConfig(pairs []string) (map[string]string, error) {
	config := map[string]string{}
	for _, pair := range pairs {
		key, value, ok := strings.Cut(pair, "=")
		if _, twice := config[key]; !ok || key == "" || twice {
			return nil, exit.Usagef("configuration %q: want KEY=VALUE, each key once", pair)
		}
		config[key] = value
	}
	return config, nil
}

func budgetText(b policies.Budget) string {
	text := fmt.Sprintf("%s units for a batch, %s for each of its records, %s for each call that starts it",
		state.UnitsText(b.Batch), state.UnitsText(b.Record), state.UnitsText(b.Start))
	s := state.DefaultSettings()
	if b == s.Budget() {
		text += "; those of a new cell"
	}
	return text
}
