package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/datanode/datanode/cmd/datanode/internal/cli"
	"github.com/datanode/datanode/cmd/datanode/internal/exit"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

const flagConfig = "config"

// fillFlags gives the flags of cmd that were not typed a value from the environment, else from the
// file that --config names: a JSON object whose keys are names of flags, and whose values are strings,
// numbers, booleans or lists of strings.
func (a app) fillFlags(cmd *cobra.Command) error {
	var failed error
	cmd.LocalNonPersistentFlags().VisitAll(func(f *pflag.Flag) {
		v := a.Env(cli.EnvName(f.Name))
		if f.Changed || v == "" || failed != nil {
			return
		}
		if err := cmd.Flags().Set(f.Name, v); err != nil {
			failed = exit.Usagef("%s: %w", cli.EnvName(f.Name), err)
		}
	})
	if failed != nil {
		return failed
	}
	path := cmd.Flag(flagConfig).Value.String()
	if path == "" {
		return nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return exit.File(err)
	}
	return fillFromConfig(cmd, path, text)
}

func fillFromConfig(cmd *cobra.Command, path string, text []byte) error {
	var values map[string]any
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&values); err != nil {
		return exit.Usagef("%s is not a JSON object of flags, such as {\"id\": \"n1\"}: %w", path, err)
	}
	names := make([]string, 0, len(values))
	for name := range values {
		names = append(names, name)
	}
	slices.Sort(names) // so that the first error is always the same
	for _, name := range names {
		f := cmd.LocalNonPersistentFlags().Lookup(name)
		if f == nil || name == flagConfig {
			return exit.Usagef("%s: there is no setting %q; its keys are the flags of %s", path, name, cmd.CommandPath())
		}
		if f.Changed {
			continue // typed, or from the environment
		}
		v, err := configText(values[name])
		if err == nil {
			err = cmd.Flags().Set(name, v)
		}
		if err != nil {
			return exit.Usagef("%s: %s: %w", path, name, err)
		}
	}
	return nil
}

// configText is a value as it would be typed.
func configText(v any) (string, error) {
	switch v := v.(type) {
	case string:
		return v, nil
	case bool, json.Number:
		return fmt.Sprint(v), nil
	case []any:
		parts := make([]string, len(v))
		for i, p := range v {
			s, ok := p.(string)
			if !ok {
				return "", fmt.Errorf("element %d is not a string", i)
			}
			parts[i] = s
		}
		return strings.Join(parts, ","), nil
	}
	return "", fmt.Errorf("want a string, a number, a boolean or a list of strings")
}
