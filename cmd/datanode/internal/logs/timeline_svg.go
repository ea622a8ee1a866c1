package logs

import (
	"bufio"
	"cmp"
	"encoding/xml"
	"fmt"
	"io"
	"slices"
	"strings"
)

// The picture, in pixels.
const (
	pictureWidth = 1440
	plotLeft     = 150
	plotWidth    = pictureWidth - plotLeft - 20
	leastBar     = 4 // an operation is that wide at least
	capWidth     = 3 // of the end of a bar, which says how it ended
	stripTop     = 92
	stripHeight  = 60
	lanesTop     = stripTop + stripHeight + 42
	labelEvery   = 12 // pixels from label to label, at least
	writtenBar   = 18 // so high a bar has its operation written into it
)

// pictureStyle has plain rules first: what does not know @media shows the light colours.
const pictureStyle = `
text{font:11px system-ui,"Segoe UI","DejaVu Sans",sans-serif;fill:#1f2328}
.title{font-size:15px;font-weight:600}.small{fill:#59636e}.in{fill:#fff;pointer-events:none}
.back{fill:#fff}.stripe{fill:#f6f8fa}.grid{stroke:#d1d9e0;stroke-width:1}.gap{fill:#d1d9e0;fill-opacity:.45}
.queued{fill:#afb8c1}.waiting{fill:#e3a008}.running{fill:#2f81f7}
.done{fill:#1a7f37}.failed{fill:#cf222e}.superseded{fill:#8250df}.cancelled{fill:#57606a}.rejected{fill:#bc4c00}
.merged{fill:#0a7ea4}.open{fill:#0a3069}
.leader,.policy,.node{stroke-width:1.5}.leader{stroke:#cf222e}.policy{stroke:#8250df}.node{stroke:#9a6700}
.leader.m{fill:#cf222e}.policy.m{fill:#8250df}.node.m{fill:#9a6700}
.down{fill:#cf222e;fill-opacity:.12}.o:hover rect{stroke:#1f2328;stroke-width:1.5}
@media (prefers-color-scheme:dark){
text{fill:#e6edf3}.small{fill:#9198a1}.back{fill:#0d1117}.stripe{fill:#151b23}.grid{stroke:#3d444d}.gap{fill:#3d444d}
.in{fill:#fff}.queued{fill:#656c76}.waiting{fill:#d29922}.done{fill:#3fb950}.failed{fill:#f85149}
.superseded{fill:#a371f7}.cancelled{fill:#9198a1}.open{fill:#a5d6ff}.o:hover rect{stroke:#e6edf3}}
`

// picture writes SVG. Errors stay with the writer up to its Flush.
type picture struct {
	w    *bufio.Writer
	t    *Timeline
	axis *axis
	now  int64 // the last time that there is
}

// WriteSVG draws the timeline, with a lane for each extent or, with byNode, for each node.
func (t *Timeline) WriteSVG(to io.Writer, byNode bool) error {
	var times []int64
	for _, o := range t.ops {
		for _, s := range o.spans {
			times = append(times, s.from, max(s.to, s.from))
		}
		times = append(times, max(o.end, o.from()))
	}
	for _, m := range t.marks {
		times = append(times, m.micros)
	}
	times = slices.DeleteFunc(times, func(at int64) bool { return at <= 0 })
	p := picture{w: bufio.NewWriter(to), t: t, axis: newAxis(times, plotLeft, plotWidth)}
	p.now = p.axis.at[len(p.axis.at)-1]
	lanes := t.lanes(byNode, p.axis, p.now)
	rows := 0
	for _, l := range lanes {
		rows += l.rows
	}
	rowHeight := rowHeightOf(rows)
	height := lanesTop + float64(rows)*rowHeight + float64(len(lanes))*lanePad(rowHeight) + 50
	p.put(`<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%.0f" viewBox="0 0 %d %.0f" role="img">`,
		pictureWidth, height, pictureWidth, height)
	p.put("<title>Operations of %s</title><style>%s</style>", escaped(t.log), pictureStyle)
	p.put(`<rect class="back" width="%d" height="%.0f"/>`, pictureWidth, height)
	p.head()
	p.strip(byNode)
	end := height - 50
	p.stripes(lanes, rowHeight)
	p.times(end)
	p.lanes(lanes, rowHeight)
	p.marksOver(end)
	p.put("</svg>")
	return p.w.Flush()
}

func (p *picture) put(format string, args ...any) { fmt.Fprintf(p.w, format+"\n", args...) }

// escaped is a text that may stand in XML, whatever is in it.
func escaped(text string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(text)) // a Builder never fails
	return strings.ReplaceAll(b.String(), "&#xA;", "\n")
}

// rowHeightOf makes few rows high enough to be written into, and many so low that one sees them together.
func rowHeightOf(rows int) float64 {
	switch {
	case rows <= 60:
		return 22
	case rows <= 250:
		return 13
	}
	return 7
}

func lanePad(rowHeight float64) float64 { return rowHeight / 5 }

// head is the title and the legend.
func (p *picture) head() {
	p.put(`<text class="title" x="14" y="24">Operations of %s</text>`, escaped(p.t.log))
	p.put(`<text class="small" x="14" y="42">%d operations in entries %d to %d; times are UTC, by the cell's clock; `+
		`point at a bar for its story</text>`, len(p.t.ops), p.t.first, p.t.last)
	x := 14
	for _, name := range []string{"queued", "waiting", "running", "", "done", "failed", "superseded", "cancelled",
		"rejected", "merged", "open"} {
		if name == "" {
			p.put(`<text class="small" x="%d" y="66">ended as</text>`, x+8)
			x += 66
			continue
		}
		text := name
		if name == "open" {
			text = "not yet"
		}
		p.put(`<rect class="%s" x="%d" y="57" width="11" height="11" rx="2"/><text x="%d" y="66">%s</text>`, name, x,
			x+16, text)
		x += 34 + 7*len(text)
	}
	for _, name := range []string{"leader", "policy", "node"} {
		p.put(`<path class="%s" d="M%d 56V69"/><text x="%d" y="66">%s</text>`, name, x+6, x+14, name)
		x += 32 + 7*len(name)
	}
	p.put(`<rect class="gap" x="%d" y="57" width="11" height="11"/><text x="%d" y="66">nothing happens</text>`, x, x+16)
}

// strip shows how many operations were queued and running, over time.
func (p *picture) strip(byNode bool) {
	const bins = plotWidth / 2
	var queued, running [bins + 1]int // changes, then counts
	bin := func(at int64) int { return min(max(int((p.axis.of(at)-plotLeft)*bins/plotWidth), 0), bins-1) }
	for _, o := range p.t.ops {
		for _, s := range o.spans {
			to := s.to
			if to == 0 {
				to = p.now
			}
			into := &queued
			if s.running {
				into = &running
			}
			into[bin(s.from)]++
			into[bin(to)+1]--
		}
	}
	most := 1
	for i := range bins {
		if i > 0 {
			queued[i], running[i] = queued[i]+queued[i-1], running[i]+running[i-1]
		}
		most = max(most, queued[i]+running[i])
	}
	p.put(`<text x="14" y="%d">open operations</text><text class="small" x="14" y="%d">at most %d</text>`, stripTop+14,
		stripTop+28, most)
	p.put(`<path class="grid" d="M%d %dH%d"/>`, plotLeft, stripTop+stripHeight, plotLeft+plotWidth)
	area := func(class string, height func(i int) int) {
		var d strings.Builder
		fmt.Fprintf(&d, "M%d %d", plotLeft, stripTop+stripHeight)
		for i := range bins {
			y := float64(stripTop+stripHeight) - float64(height(i))*stripHeight/float64(most)
			fmt.Fprintf(&d, "V%.1fH%d", y, plotLeft+(i+1)*plotWidth/bins)
		}
		p.put(`<path class="%s" d="%sV%dZ"/>`, class, d.String(), stripTop+stripHeight)
	}
	area("queued", func(i int) int { return queued[i] + running[i] })
	area("running", func(i int) int { return running[i] })
	what := "each lane: an extent"
	if byNode {
		what = "each lane: a node"
	}
	p.put(`<text class="small" x="14" y="%d">%s</text>`, lanesTop-8, what)
}

// stripes are behind everything else in the lanes.
func (p *picture) stripes(all []lane, rowHeight float64) {
	y := float64(lanesTop)
	for i, l := range all {
		height := float64(l.rows)*rowHeight + lanePad(rowHeight)
		if i%2 == 0 {
			p.put(`<rect class="stripe" x="0" y="%.1f" width="%d" height="%.1f"/>`, y, pictureWidth, height)
		}
		p.downTimes(l.name, y, height)
		y += height
	}
}

// lanes writes their names and draws their bars.
func (p *picture) lanes(all []lane, rowHeight float64) {
	y, labelled := float64(lanesTop), -1e9
	pad := lanePad(rowHeight)
	for _, l := range all {
		if y-labelled >= labelEvery {
			size := min(11, max(8, rowHeight-1))
			p.put(`<text x="14" y="%.1f" style="font-size:%.0fpx">%s<title>%s</title></text>`, y+pad/2+rowHeight/2+size*.36,
				size, escaped(short(l.name, 20)), escaped(l.name))
			labelled = y
		}
		for _, b := range l.bars {
			p.bar(b, y+pad/2+float64(b.row)*rowHeight, rowHeight)
		}
		y += float64(l.rows)*rowHeight + pad
	}
}

// short is a text of so many characters at most.
func short(text string, most int) string {
	if r := []rune(text); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return text
}

// bar draws an operation: its parts, and how it ended.
func (p *picture) bar(b bar, y, rowHeight float64) {
	from := p.axis.of(b.from)
	to := max(p.axis.of(b.to), from+leastBar)
	height := rowHeight - max(1, rowHeight/6)
	p.put(`<g class="o"><title>%s</title>`, escaped(b.op.title()))
	if from+leastBar < to {
		for _, one := range b.parts {
			x := p.axis.of(one.from)
			if width := p.axis.of(one.to) - x; width > 0 {
				p.put(`<rect class="%s" x="%.1f" y="%.1f" width="%.1f" height="%.1f"/>`, one.state, x, y, width, height)
			}
		}
	} else {
		p.put(`<rect class="%s" x="%.1f" y="%.1f" width="%d" height="%.1f"/>`, b.parts[len(b.parts)-1].state, from, y,
			leastBar, height)
	}
	p.put(`<rect class="%s" x="%.1f" y="%.1f" width="%d" height="%.1f"/>`, orElse(b.op.outcome, "open"), to-capWidth, y,
		capWidth, height)
	if rowHeight >= writtenBar {
		p.write(b, y+height/2+4)
	}
	p.put("</g>")
}

// write names an operation in the part of its bar that has the most room, if that is enough.
func (p *picture) write(b bar, y float64) {
	const perLetter = 8
	widest, x := 0.0, 0.0
	for _, one := range b.parts {
		if from := p.axis.of(one.from); p.axis.of(one.to)-from > widest {
			widest, x = p.axis.of(one.to)-from, from
		}
	}
	if text := b.op.kind + " " + b.op.id.String(); widest > float64(perLetter*len(text)) {
		p.put(`<text class="in" x="%.1f" y="%.1f">%s</text>`, x+5, y, escaped(text))
	}
}

// downTimes shades the times in which a node was down, in its lane.
func (p *picture) downTimes(name string, y, height float64) {
	since := int64(0)
	shade := func(to int64) {
		if since != 0 {
			from := p.axis.of(since)
			p.put(`<rect class="down" x="%.1f" y="%.1f" width="%.1f" height="%.1f"><title>%s is down</title></rect>`, from, y,
				max(p.axis.of(to)-from, 1), height, escaped(name))
		}
		since = 0
	}
	for _, m := range p.t.marks {
		if m.kind != "node" || m.node != name {
			continue
		}
		shade(m.micros)
		if m.down {
			since = m.micros
		}
	}
	shade(p.now)
}

// times draws the axis above and below, with lines through the lanes.
func (p *picture) times(end float64) {
	for _, g := range p.axis.gaps {
		x := p.axis.of(g.from)
		p.put(`<rect class="gap" x="%.1f" y="%d" width="%.1f" height="%.1f"><title>nothing happens for %s</title></rect>`,
			x+1, stripTop, max(p.axis.of(g.to)-x-2, 1), end-stripTop, lengthText(g.to-g.from))
	}
	for _, t := range p.axis.ticks() {
		x := p.axis.of(t.micros)
		p.put(`<path class="grid" d="M%.1f %dV%.1f"/>`, x, stripTop, end+6)
		for _, y := range []float64{stripTop + stripHeight + 16, end + 20} {
			p.put(`<text class="small" x="%.1f" y="%.1f">%s</text>`, x+3, y, t.text)
		}
	}
}

// marksOver draws leaders, policies and nodes over everything else.
func (p *picture) marksOver(end float64) {
	nodesFirst := slices.Clone(p.t.marks) // there may be many, and none is to hide a leader
	slices.SortStableFunc(nodesFirst, func(a, b mark) int { return cmp.Compare(b.rank(), a.rank()) })
	for _, m := range nodesFirst {
		x := p.axis.of(m.micros)
		p.put(`<g class="o"><title>%s</title>`, escaped(m.text))
		if m.kind != "node" { // of these there may be many; in lanes of nodes they are shades
			p.put(`<path class="%s" d="M%.1f %dV%.1f"/>`, m.kind, x, stripTop-8, end)
		}
		p.put(`<path class="%s m" d="M%.1f %dl-4 -7h8z"/></g>`, m.kind, x, stripTop-4)
	}
}
