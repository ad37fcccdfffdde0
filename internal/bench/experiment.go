package main

import (
	"context"
	"fmt"
	"io"
)

// A row is a workload.
type row struct {
	name  string
	rw    string // as fio has it
	block int
	depth int
	fsync int // writes between flushes; 0: none
	must  [2]float64
	aim   [2]float64 // ratios of IOPS and of CPU per I/O, to the base; 0: none

	blocks int // the batching client's end; 0: by time
}

// A setup is a bridge and its target.
type setup struct {
	name        string
	qemu        bool // qemu-nbd in place of braid
	tgtd        bool // tgt's null store in place of the embedded target
	portals     int
	mcs         bool
	flags       []string
	targetFlags []string
	faults      []string // that the embedded target is told once all is up
	network     *network // nil: loopback
}

// An experiment compares setups over rows. The first setup is what the others are
// measured by.
type experiment struct {
	name, title string
	rows        []row
	setups      []setup
	batching    bool // the client of load.go in place of fio

	// whole is an experiment that has no rows.
	whole func(ctx context.Context, s settings, report io.Writer) error
}

const (
	kib = 1 << 10
	mib = 1 << 20
)

// peerRows are what is compared with qemu-nbd. The bounds are ratios that a change must not
// fall below, and what is aimed at.
var peerRows = []row{
	{name: "4 KiB random read, depth 1", rw: "randread", block: 4 * kib, depth: 1,
		must: [2]float64{1.3, 1.6}, aim: [2]float64{1.8, 2.3}},
	{name: "4 KiB random read, depth 32", rw: "randread", block: 4 * kib, depth: 32,
		must: [2]float64{2.3, 3.5}, aim: [2]float64{3.2, 5}},
	{name: "4 KiB random read, depth 128", rw: "randread", block: 4 * kib, depth: 128,
		must: [2]float64{2.3, 3.5}, aim: [2]float64{3.2, 6}},
	{name: "4 KiB random write, depth 32", rw: "randwrite", block: 4 * kib, depth: 32,
		must: [2]float64{2.5, 4}, aim: [2]float64{3.8, 6}},
	{name: "70/30 mix, depth 32", rw: "randrw", block: 4 * kib, depth: 32,
		must: [2]float64{2, 3}, aim: [2]float64{3, 5}},
	{name: "128 KiB read, depth 8", rw: "read", block: 128 * kib, depth: 8,
		must: [2]float64{1, 1.3}, aim: [2]float64{1.4, 2}},
	{name: "1 MiB read, depth 8", rw: "read", block: mib, depth: 8,
		must: [2]float64{2, 3}, aim: [2]float64{3, 5}},
	{name: "1 MiB write, depth 8", rw: "write", block: mib, depth: 8,
		must: [2]float64{1.6, 2}, aim: [2]float64{2.5, 4}},
	{name: "4 KiB write + fsync, depth 1", rw: "randwrite", block: 4 * kib, depth: 1, fsync: 1,
		must: [2]float64{1.4, 1.7}, aim: [2]float64{1.9, 2.5}},
	{name: "4 KiB write, depth 32, fsync every 32",
		rw: "randwrite", block: 4 * kib, depth: 32, fsync: 32,
		must: [2]float64{2, 3}, aim: [2]float64{3, 5}},
}

var (
	noCache   = []string{"--write-cache", "none"}
	withCache = []string{"--write-cache", "claimed"}
)

// unbounded are rows without bounds.
func unbounded(rows ...row) []row {
	list := make([]row, len(rows))
	for i, r := range rows {
		r.must, r.aim = [2]float64{}, [2]float64{}
		list[i] = r
	}
	return list
}

func experiments() []experiment {
	qemu := setup{name: "qemu-nbd", qemu: true, portals: 1, targetFlags: noCache}
	one := setup{name: "braid", portals: 1, targetFlags: noCache}
	list := []experiment{
		{name: "peers", title: "Beside qemu-nbd with libiscsi, one session", rows: peerRows,
			setups: []setup{qemu, one}},
		{name: "sessions", title: "Two sessions, barrier = drain, retain on, WCE = 1, beside qemu-nbd",
			rows: scaled(peerRows, 0.85), setups: []setup{
				{name: "qemu-nbd", qemu: true, portals: 2, targetFlags: withCache},
				{name: "braid, two sessions", portals: 2, targetFlags: withCache},
			}},
		{name: "tgtd", title: "Outside check: tgt with its null store", rows: unbounded(peerRows...),
			setups: []setup{{name: "qemu-nbd", qemu: true, tgtd: true, portals: 1},
				{name: "braid", tgtd: true, portals: 1}}},
		{name: "batching", title: "A client that sends its requests in batches", batching: true,
			rows:   unbounded(peerRows[1], peerRows[2], peerRows[3], peerRows[6], peerRows[7]),
			setups: []setup{qemu, one}},
		{name: "paths", title: "CPU of several paths, to one", rows: pathRows, setups: []setup{
			{name: "one path", portals: 1, targetFlags: noCache},
			{name: "two paths", portals: 2, targetFlags: noCache},
			{name: "four paths", portals: 4, targetFlags: noCache}}},
		{name: "digests", title: "CRC32C on headers and data, to none", rows: digestRows, setups: []setup{
			{name: "none", portals: 1, targetFlags: noCache,
				flags: []string{"--header-digest", "none", "--data-digest", "none"}},
			{name: "crc32c", portals: 1, targetFlags: noCache,
				flags: []string{"--header-digest", "crc32c", "--data-digest", "crc32c"}}}},
	}
	list = append(list, shaped()...)
	list = append(list, barriers()...)
	return append(list, experiment{name: "idle", title: "Devices that nobody uses", whole: footprint})
}

// scaled are rows with a part of their bounds.
func scaled(rows []row, by float64) []row {
	list := make([]row, len(rows))
	for i, r := range rows {
		for k := range r.must {
			r.must[k] *= by
			r.aim[k] *= by
		}
		list[i] = r
	}
	return list
}

// pathRows: four paths may cost 1.15 times the CPU of one at depth 32, 1.5 times at 128.
var pathRows = []row{
	{name: "4 KiB random read, depth 32", rw: "randread", block: 4 * kib, depth: 32,
		must: [2]float64{0, 1 / 1.15}},
	{name: "4 KiB random read, depth 128", rw: "randread", block: 4 * kib, depth: 128,
		must: [2]float64{0, 1 / 1.5}},
	{name: "4 KiB random write, depth 32", rw: "randwrite", block: 4 * kib, depth: 32,
		must: [2]float64{0, 1 / 1.15}},
	{name: "1 MiB read, depth 8", rw: "read", block: mib, depth: 8},
}

// digestRows: digests may cost a tenth at 4 KiB, three tenths at 1 MiB.
var digestRows = []row{
	{name: "4 KiB random read, depth 32", rw: "randread", block: 4 * kib, depth: 32,
		must: [2]float64{0, 1 / 1.1}},
	{name: "4 KiB random write, depth 32", rw: "randwrite", block: 4 * kib, depth: 32,
		must: [2]float64{0, 1 / 1.1}},
	{name: "1 MiB read, depth 8", rw: "read", block: mib, depth: 8,
		must: [2]float64{0, 1 / 1.3}},
	{name: "1 MiB write, depth 8", rw: "write", block: mib, depth: 8,
		must: [2]float64{0, 1 / 1.3}},
}

// barriers is what a barrier costs: loads that flush, under each rule, with one session,
// two sessions, and one session of two connections; with a target whose flush costs
// nothing, and with one that takes as long for it as many a disk does.
func barriers() []experiment {
	free := experiment{name: "barrier", title: "What a barrier costs"}
	slow := experiment{name: "barrier-slow", title: "What a barrier costs where a flush takes 2 ms"}
	for _, every := range []int{1, 8, 32} {
		for _, depth := range []int{1, 8, 32} {
			free.rows = append(free.rows, row{
				name: fmt.Sprintf("4 KiB write, depth %d, fsync every %d", depth, every),
				rw:   "randwrite", block: 4 * kib, depth: depth, fsync: every})
		}
	}
	slow.rows = free.rows
	shapes := []setup{
		{name: "one session", portals: 1},
		{name: "two sessions", portals: 2},
		{name: "MC/S", portals: 2, mcs: true},
	}
	for _, s := range shapes {
		for _, mode := range []string{"drain", "hold", "epoch"} {
			s := s
			s.name += ", " + mode
			s.flags, s.targetFlags = []string{"--barrier", mode}, withCache
			free.setups = append(free.setups, s)
			s.faults = []string{"delay all 2ms flushes"}
			slow.setups = append(slow.setups, s)
		}
	}
	return []experiment{free, slow}
}
