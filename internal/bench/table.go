package main

import (
	"fmt"
	"io"
	"slices"
)

// A figure is what the clean samples of one setup and row say.
type figure struct {
	clean, all      int
	iops, mbps, lat float64
	bridge, target  float64
	low, high       float64 // of the bridge's CPU, all runs
}

func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	slices.Sort(v)
	if n := len(v); n%2 == 0 {
		return (v[n/2-1] + v[n/2]) / 2
	}
	return v[len(v)/2]
}

// of gives the figure of a setup for a row: medians of the clean runs, of all runs if none
// was clean.
func (r *results) of(w row, s setup) figure {
	var f figure
	var clean, all []sample
	for _, m := range r.samples {
		if m.Row == w.name && m.Setup == s.name {
			all = append(all, m)
			if !m.Dirty {
				clean = append(clean, m)
			}
		}
	}
	f.clean, f.all = len(clean), len(all)
	if f.all == 0 {
		return f
	}
	f.low, f.high = all[0].BridgeUS, all[0].BridgeUS
	for _, m := range all {
		f.low, f.high = min(f.low, m.BridgeUS), max(f.high, m.BridgeUS)
	}
	if len(clean) == 0 {
		clean = all
	}
	pick := func(of func(sample) float64) float64 {
		var v []float64
		for _, m := range clean {
			v = append(v, of(m))
		}
		return median(v)
	}
	f.iops = pick(func(m sample) float64 { return m.IOPS })
	f.mbps = pick(func(m sample) float64 { return m.MBps })
	f.lat = pick(func(m sample) float64 { return m.LatencyUS })
	f.bridge = pick(func(m sample) float64 { return m.BridgeUS })
	f.target = pick(func(m sample) float64 { return m.TargetUS })
	return f
}

// A ratio is how much better a setup is than the base: medians of the ratios within the
// rounds, which are steadier than ratios of medians.
type ratio struct{ iops, cpu float64 }

func (r *results) ratio(w row, s setup) ratio {
	type pair struct{ base, own sample }
	rounds := make(map[int]*pair)
	var order []int
	for _, m := range r.samples {
		if m.Row != w.name {
			continue
		}
		p := rounds[m.Round]
		if p == nil {
			p = &pair{}
			rounds[m.Round] = p
			order = append(order, m.Round)
		}
		switch m.Setup {
		case r.setups[0].name:
			p.base = m
		case s.name:
			p.own = m
		}
	}
	var iops, cpu, dirtyIOPS, dirtyCPU []float64
	for _, n := range order {
		p := rounds[n]
		if p.base.IOPS == 0 || p.own.IOPS == 0 || p.own.BridgeUS == 0 {
			continue
		}
		if p.base.Dirty || p.own.Dirty {
			dirtyIOPS = append(dirtyIOPS, p.own.IOPS/p.base.IOPS)
			dirtyCPU = append(dirtyCPU, p.base.BridgeUS/p.own.BridgeUS)
			continue
		}
		iops = append(iops, p.own.IOPS/p.base.IOPS)
		cpu = append(cpu, p.base.BridgeUS/p.own.BridgeUS)
	}
	if len(iops) == 0 {
		iops, cpu = dirtyIOPS, dirtyCPU
	}
	return ratio{median(iops), median(cpu)}
}

func (r *results) table(w io.Writer) {
	fmt.Fprintf(w, "## %s\n\n", r.title)
	fmt.Fprint(w, "| workload | setup | clean runs | IOPS | MB/s | latency, us |"+
		" CPU per I/O, us [all runs] | target, us | IOPS ratio | CPU ratio | bounds |\n"+
		"|---|---|---|---|---|---|---|---|---|---|---|\n")
	for _, row := range r.rows {
		for i, s := range r.setups {
			f := r.of(row, s)
			if f.all == 0 {
				continue
			}
			q, verdict := ratio{1, 1}, ""
			if i > 0 {
				q = r.ratio(row, s)
				verdict = row.judge(q)
			}
			fmt.Fprintf(w, "| %s | %s | %d of %d | %.0f | %.0f | %.0f | %.1f [%.1f-%.1f] |",
				row.name, s.name, f.clean, f.all, f.iops, f.mbps, f.lat, f.bridge, f.low, f.high)
			fmt.Fprintf(w, " %.1f | %.2f | %.2f | %s |\n", f.target, q.iops, q.cpu, verdict)
		}
	}
	fmt.Fprintln(w)
	for i, s := range r.setups {
		fmt.Fprintf(w, "%s: ready after %.2f s, %.1f MiB resident when idle.\n", s.name,
			r.ready[i].Seconds(), float64(r.idle[i])/mib)
	}
	fmt.Fprintln(w)
}

// judge compares a ratio with the row's bounds.
func (r row) judge(q ratio) string {
	if r.must == [2]float64{} {
		return ""
	}
	text := "below"
	if q.iops >= r.must[0] && q.cpu >= r.must[1] {
		text = "holds"
		if r.aim != [2]float64{} && q.iops >= r.aim[0] && q.cpu >= r.aim[1] {
			text = "aim"
		}
	}
	return fmt.Sprintf("%s (%.2f / %.2f)", text, r.must[0], r.must[1])
}
