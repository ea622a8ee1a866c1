package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/datanode/datanode/cmd/datanode/internal/cli"
	"github.com/datanode/datanode/cmd/datanode/internal/exit"
	"github.com/datanode/datanode/cmd/datanode/internal/logs"
	"github.com/datanode/datanode/cmd/datanode/internal/term"
	"github.com/spf13/cobra"
)

const doctorHelp = `Read a log and tell what an engineer should look at, the most suspicious first: entries that are
damaged, operations that are open for long and what they wait for, nodes that are down or lag or come and go, verdicts
of policies that were overruled, decisions that the native default made instead, what is refused or fails again and
again, leaders that change often, clocks that were set, and entries that grow. Each comes with the entries that say so,
for log show, and with what to do.

What is open and what was refused is found by applying the entries again: of a running node or a file, where they
begin with the first one. Exit code 0 says that nothing is suspicious, 1 that something is, 6 that the log is damaged.`

// doctorVisit are the flags of log doctor.
type doctorVisit struct {
	source     logSource
	entries    logs.Range
	since      string
	complaints logs.Complaints
}

func newLogDoctorCommand(a app) *cobra.Command {
	var v doctorVisit
	cmd := &cobra.Command{
		Use: "doctor", Short: "Tell what is suspicious in a log, and what to do", Args: cli.Takes(0, 0), Long: doctorHelp,
		Example: "  datanode log doctor\n  datanode log doctor --dir /srv/n1\n" +
			"  datanode log doctor --since 24h --stuck-after 1h -o json",
		RunE: v.source.with(a, func(ctx context.Context, s logs.Source, _ []string) error {
			since, err := v.check()
			if err != nil {
				return err
			}
			d, err := logs.Diagnose(ctx, s, v.entries, since, v.complaints)
			if err != nil {
				return err
			}
			if err := printDiagnosis(a, d); err != nil {
				return err
			}
			switch {
			case d.Damaged():
				return exit.With(exit.Corrupt, "the log of %s is damaged", term.OneLine(d.Log))
			case len(d.Findings) > 0:
				return exit.With(exit.Failed, "the log of %s has %d suspicious things", term.OneLine(d.Log), len(d.Findings))
			}
			return nil
		}),
	}
	v.source.flags(cmd)
	flags := cmd.Flags()
	flags.Uint64Var(&v.entries.From, "from", 0, "first index")
	flags.Uint64Var(&v.entries.To, "to", 0, "last index")
	flags.StringVar(&v.since, "since", "", "of what repeats, from this time on: 2h ago, or 2026-11-30T04:05:06Z")
	flags.DurationVar(&v.complaints.StuckAfter, "stuck-after", 10*time.Minute,
		"operations are stuck that are open for so long")
	flags.IntVar(&v.complaints.Repeats, "repeats", 3, "what is refused or fails so often in the same way is suspicious")
	return cmd
}

func (v *doctorVisit) check() (time.Time, error) {
	switch {
	case v.entries.To > 0 && v.entries.From > v.entries.To:
		return time.Time{}, exit.Usagef("--from %d is behind --to %d", v.entries.From, v.entries.To)
	case v.complaints.StuckAfter <= 0:
		return time.Time{}, exit.Usagef("--stuck-after %s: want more than 0s", v.complaints.StuckAfter)
	case v.complaints.Repeats < 1:
		return time.Time{}, exit.Usagef("--repeats %d: want 1 at least", v.complaints.Repeats)
	}
	since, err := logs.ParseTime(v.since, time.Now())
	if err != nil {
		return since, exit.Usagef("--since: %w", err)
	}
	return since, nil
}

func printDiagnosis(a app, d *logs.Diagnosis) error {
	if a.Output != term.FormatTable {
		return term.Show(a.Terminal, d, nil)
	}
	found := "nothing suspicious"
	if n := len(d.Findings); n > 0 {
		found = fmt.Sprintf("%d suspicious, the most suspicious first", n)
	}
	lines := []string{fmt.Sprintf("%s: entries %d to %d, %d looked at, as of %s; %s", term.OneLine(d.Log), d.First,
		d.Last, d.Entries, term.Stamp(d.Now), found)}
	if d.Partial != "" {
		lines = append(lines, "  "+term.OneLine(d.Partial))
	}
	for i, f := range d.Findings {
		times := ""
		if f.Count > 1 {
			times = fmt.Sprintf(" (%d times)", f.Count)
		}
		lines = append(lines, "", fmt.Sprintf("%d. %s%s: %s", i+1, f.Kind, times, term.OneLine(f.What)))
		lines = append(lines, findingLines(f)...)
	}
	for _, line := range lines {
		if err := a.Print("%s", line); err != nil {
			return err
		}
	}
	return nil
}

// findingLines are what else is known of a finding.
func findingLines(f logs.Finding) []string {
	var out []string
	switch {
	case f.Since > 0 && f.Last > f.Since:
		out = append(out, fmt.Sprintf("   from     %s to %s", term.Stamp(f.Since), term.Stamp(f.Last)))
	case f.Since > 0:
		out = append(out, "   since    "+term.Stamp(f.Since))
	}
	if f.Until > 0 {
		out = append(out, "   until    "+term.Stamp(f.Until))
	}
	if len(f.Entries) > 0 {
		all := make([]string, len(f.Entries))
		for i, e := range f.Entries {
			all[i] = term.Count(e)
		}
		gap := ""
		if f.Count > len(f.Entries) && len(f.Entries) > 1 {
			gap = " …,"
		}
		text := strings.Join(all[1:], ", ")
		out = append(out, "   entries  "+strings.TrimSuffix(all[0]+","+gap+" "+text, ", "))
	}
	return append(out, "   do       "+term.OneLine(f.Do))
}
