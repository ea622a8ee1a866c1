package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/datanode/datanode/load"
)

// header begins the table: for each peer its rate, p99 and the servers' processor time, and the ratios of the last one
// to each of the others.
func header(out io.Writer, peers []peer) {
	var heads []string
	for _, p := range peers {
		heads = append(heads, p.name()+", ops/s", "p99 ms", "servers, µs an op")
	}
	last := peers[len(peers)-1]
	for _, p := range peers[:len(peers)-1] {
		heads = append(heads, fmt.Sprintf("%s / %s, by round", last.name(), p.name()))
	}
	fmt.Fprintf(out, "| | %s |\n|---|%s\n", strings.Join(heads, " | "), strings.Repeat("---|", len(heads)))
}

func line(out io.Writer, j job, all []measured) {
	var cells []string
	for _, m := range all {
		if m.err != nil {
			cells = append(cells, "–", "–", "–")
			continue
		}
		cells = append(cells, fmt.Sprintf("%.0f", median(m.rows, func(r load.Row) float64 { return r.PerSecond })),
			fmt.Sprintf("%.1f", median(m.rows, func(r load.Row) float64 { return r.P99 / 1e3 })),
			fmt.Sprintf("%.0f", median(m.rows, func(r load.Row) float64 { return r.ServerTime })))
		if n := failures(m.rows); n > 0 {
			cells[len(cells)-3] += fmt.Sprintf(" (%d errors)", n)
		}
	}
	last := all[len(all)-1]
	for _, m := range all[:len(all)-1] {
		cells = append(cells, ratios(last, m))
	}
	fmt.Fprintf(out, "| %s | %s |\n", j, strings.Join(cells, " | "))
}

func failures(rows []load.Row) int {
	n := 0
	for _, r := range rows {
		n += r.Errors
	}
	return n
}

// ratios are those of the rates, round by round.
func ratios(of, to measured) string {
	if of.err != nil || to.err != nil {
		return "–"
	}
	var all []string
	for i, r := range of.rows {
		all = append(all, fmt.Sprintf("%.2f", r.PerSecond/to.rows[i].PerSecond))
	}
	return strings.Join(all, ", ")
}
