package main

import (
	"fmt"
	"os"
	"strings"
)

const (
	barHeight = 14
	rowGap    = 10
	labels    = 300
	barWidth  = 460
)

var colours = []string{"#8a8f98", "#2b6cb0", "#d97706", "#2f855a", "#9b2c2c", "#6b46c1", "#0f766e",
	"#b83280", "#4a5568"}

// plot draws IOPS of every setup, relative to the first one.
func (r *results) plot(file string) error {
	var b strings.Builder
	top, y := 1.0, 60
	var rows []row
	for _, w := range r.rows {
		if r.of(w, r.setups[0]).all > 0 {
			rows = append(rows, w)
		}
		for _, s := range r.setups {
			top = max(top, r.ratio(w, s).iops)
		}
	}
	for _, w := range rows {
		fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="end">%s</text>`+"\n", labels-8,
			y+barHeight*len(r.setups)/2+4, w.name)
		for i, s := range r.setups {
			q := 1.0
			if i > 0 {
				q = r.ratio(w, s).iops
			}
			width := int(q / top * barWidth)
			fmt.Fprintf(&b, `<rect x="%d" y="%d" width="%d" height="%d" fill="%s"/>`+"\n", labels, y, width,
				barHeight-2, colours[i%len(colours)])
			fmt.Fprintf(&b, `<text x="%d" y="%d" font-size="10">%.2f</text>`+"\n",
				labels+width+4, y+barHeight-4, q)
			y += barHeight
		}
		y += rowGap
	}
	var legend strings.Builder
	x := 10
	for i, s := range r.setups {
		fmt.Fprintf(&legend, `<rect x="%d" y="30" width="10" height="10" fill="%s"/>`+
			`<text x="%d" y="39" font-size="10">%s</text>`+"\n", x, colours[i%len(colours)], x+14, s.name)
		x += 24 + 6*len(s.name)
	}
	width := max(labels+barWidth+60, x)
	text := fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" `+
		`font-family="sans-serif" font-size="12"><rect width="100%%" height="100%%" fill="white"/>`+"\n"+
		`<text x="10" y="20" font-size="14">%s: requests per second, %s = 1</text>`+"\n%s%s</svg>\n",
		width, y, r.title, r.setups[0].name, legend.String(), b.String())
	return os.WriteFile(file, []byte(text), 0o644)
}
