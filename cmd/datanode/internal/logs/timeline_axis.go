package logs

import (
	"slices"
	"sort"
	"time"
)

// axis is where on a picture a time is. Times in which nothing happens are drawn short.
type axis struct {
	left, width float64
	at          []int64 // times, rising; between two of them it is even
	x           []float64
	gaps        []gap
	perMicro    float64 // of what is not a gap
}

// gap is a time in which nothing happens, drawn short.
type gap struct{ from, to int64 }

const (
	gapShare  = 0.05 // of the width, for a gap
	mostGaps  = 10
	axisSteps = 40 // of the search for how much a gap is drawn for
)

// newAxis is an axis on which all of times have a place.
func newAxis(times []int64, left, width float64) *axis {
	slices.Sort(times)
	times = slices.Compact(times)
	if len(times) == 0 {
		times = []int64{0}
	}
	if len(times) == 1 {
		times = append(times, times[0]+1)
	}
	a := &axis{left: left, width: width, at: times}
	most := longestGap(times)
	total := float64(0)
	for i := 1; i < len(times); i++ {
		length := float64(times[i] - times[i-1])
		if length > 2*most {
			a.gaps = append(a.gaps, gap{times[i-1], times[i]})
			length = most
		}
		total += length
	}
	a.perMicro = width / total
	a.x = append(a.x, left)
	for i := 1; i < len(times); i++ {
		length := float64(times[i] - times[i-1])
		if length > 2*most {
			length = most
		}
		a.x = append(a.x, a.x[i-1]+length*a.perMicro)
	}
	return a
}

// longestGap is for how much of the time a gap is drawn: a share of all that is drawn, where there are few of them.
func longestGap(times []int64) float64 {
	total := float64(times[len(times)-1] - times[0])
	most := total
	for range axisSteps {
		sum, longer := float64(0), 0
		next := gapShare * total
		for i := 1; i < len(times); i++ {
			length := float64(times[i] - times[i-1])
			if length > 2*next {
				length = next
				longer++
			}
			sum += length
		}
		if longer > mostGaps || len(times) <= mostGaps {
			return most
		}
		if next >= most || total-sum < total/100 {
			return min(next, most)
		}
		most, total = next, sum
	}
	return most
}

// of is where a time is.
func (a *axis) of(micros int64) float64 {
	i := sort.Search(len(a.at), func(i int) bool { return a.at[i] >= micros })
	switch {
	case i == len(a.at):
		return a.left + a.width
	case i == 0 || a.at[i] == micros:
		return a.x[i]
	}
	share := float64(micros-a.at[i-1]) / float64(a.at[i]-a.at[i-1])
	return a.x[i-1] + share*(a.x[i]-a.x[i-1])
}

// tick is a time that is written at the axis.
type tick struct {
	micros int64
	text   string
}

const (
	tickWidth   = 100 // that a label takes, with what is between two
	letterWidth = 7
)

// ticks are round times, as near as there is room for. The first of a day has the day.
func (a *axis) ticks() []tick {
	step := tickStep(tickWidth / a.perMicro)
	layout := "15:04:05"
	switch {
	case step < 1000:
		layout = "15:04:05.000000"
	case step < 1_000_000:
		layout = "15:04:05.000"
	case step >= 60_000_000:
		layout = "15:04"
	}
	var out []tick
	day, from := "", a.at[0]
	add := func(micros int64) {
		at := time.UnixMicro(micros).UTC()
		text := at.Format(layout)
		if d := at.Format(time.DateOnly); d != day {
			text, day = d+" "+text, d
		}
		out = append(out, tick{micros, text})
	}
	for _, g := range append(slices.Clone(a.gaps), gap{a.at[len(a.at)-1], 0}) {
		for at := (from + step - 1) / step * step; at <= g.from; at += step {
			add(at)
		}
		from = g.to
	}
	if len(out) == 0 || a.of(out[0].micros)-a.left > 2*tickWidth {
		day = ""
		add(a.at[0])
		out = append(out[len(out)-1:], out[:len(out)-1]...)
	}
	// What is near a gap may be too near to what is before it.
	free := a.left
	return slices.DeleteFunc(out, func(t tick) bool {
		x := a.of(t.micros)
		width := float64(letterWidth * len(t.text))
		if x < free || x+width > a.left+a.width+letterWidth {
			return true
		}
		free = x + width
		return false
	})
}

// tickStep is the first round duration that is at least so long, in microseconds.
func tickStep(atLeast float64) int64 {
	steps := []time.Duration{}
	for unit := time.Microsecond; unit < time.Second; unit *= 10 {
		steps = append(steps, unit, 2*unit, 5*unit)
	}
	steps = append(steps, time.Second, 2*time.Second, 5*time.Second, 10*time.Second, 30*time.Second, time.Minute,
		2*time.Minute, 5*time.Minute, 10*time.Minute, 30*time.Minute, time.Hour, 2*time.Hour, 6*time.Hour, 12*time.Hour)
	for _, s := range steps {
		if float64(s.Microseconds()) >= atLeast {
			return s.Microseconds()
		}
	}
	day := (24 * time.Hour).Microseconds()
	return day * int64(atLeast/float64(day)+1)
}
