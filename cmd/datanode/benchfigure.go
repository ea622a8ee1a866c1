package main

import (
	"fmt"
	"strings"

	"github.com/datanode/datanode/cmd/datanode/internal/term"
)

// figure is one thing that bench disk and bench repair have measured. What is not a rate, or not one of bytes, is 0
// there.
type figure struct {
	What           string  `json:"what"`
	PerSecond      float64 `json:"calls_per_second"`
	BytesPerSecond float64 `json:"bytes_per_second"`
	P50            float64 `json:"p50_us"`
	P99            float64 `json:"p99_us"`
	Ratio          float64 `json:"ratio"` // to what Of names, of this run
	Of             string  `json:"of"`
	Detail         string  `json:"detail"` // why there is no figure, or what else is to say
}

func (a app) listFigures(all []figure) error {
	return term.List(a.Terminal, term.Items(all),
		term.Col("RATE", figureRate),
		term.Col("MB/S", func(f figure) string { return figureNumber("%.0f", f.BytesPerSecond/1e6) }),
		term.Col("P50", func(f figure) string { return figureNumber("%.0fµs", f.P50) }),
		term.Col("P99", func(f figure) string { return figureNumber("%.0fµs", f.P99) }),
		term.Col("RATIO", func(f figure) string { return figureNumber("%.2f", f.Ratio) }),
		term.Col("MEASUREMENT", figureWhat))
}

func figureRate(f figure) string { return figureNumber("%.0f/s", f.PerSecond) }

func figureNumber(format string, n float64) string {
	if n == 0 {
		return "-"
	}
	return fmt.Sprintf(format, n)
}

func figureWhat(f figure) string {
	parts := []string{f.What}
	if f.Of != "" {
		parts = append(parts, "ratio to the "+f.Of)
	}
	if f.Detail != "" {
		parts = append(parts, f.Detail)
	}
	return strings.Join(parts, "; ")
}
