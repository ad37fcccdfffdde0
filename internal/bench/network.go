package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// A network is paths of their own between this machine and a namespace of the target's,
// each held to a rate in both directions. It needs root.
type network struct {
	name  string
	rates []string // as tc has them
	up    bool
}

// address is the target's on path i. The second octet keeps networks apart.
func (n *network) address(i int) string { return fmt.Sprintf("10.%d.%d.2", n.octet(), i) }

func (n *network) octet() int {
	sum := 0
	for _, c := range n.name {
		sum += int(c)
	}
	return 100 + sum%100
}

func (n *network) space() string { return "bench-" + n.name }

func ip(line string) error {
	f := strings.Fields(line)
	out, err := exec.Command(f[0], f[1:]...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", line, err, out)
	}
	return nil
}

// start makes the paths.
func (n *network) start() error {
	if n.up {
		return nil
	}
	if os.Geteuid() != 0 {
		return errors.New("network namespaces need root")
	}
	n.up = true
	lines := []string{"ip netns add " + n.space(), "ip -n " + n.space() + " link set lo up"}
	for i, rate := range n.rates {
		near, far := fmt.Sprintf("%s%dn", n.name, i), fmt.Sprintf("%s%df", n.name, i)
		shape := " root tbf rate " + rate + " burst 256k latency 50ms"
		lines = append(lines,
			fmt.Sprintf("ip link add %s type veth peer name %s netns %s", near, far, n.space()),
			fmt.Sprintf("ip addr add 10.%d.%d.1/24 dev %s", n.octet(), i, near),
			"ip link set "+near+" up",
			fmt.Sprintf("ip -n %s addr add %s/24 dev %s", n.space(), n.address(i), far),
			fmt.Sprintf("ip -n %s link set %s up", n.space(), far),
			"tc qdisc add dev "+near+shape,
			"tc -n "+n.space()+" qdisc add dev "+far+shape)
	}
	for _, l := range lines {
		if err := ip(l); err != nil {
			return err
		}
	}
	return nil
}

// stop takes the namespace away, and with it the paths.
func (n *network) stop() {
	if n.up {
		n.up = false
		_ = ip("ip netns del " + n.space()) // what is left of it goes with the machine
	}
}

// shaped are the experiments with paths of a given rate, and with one that is slow.
func shaped() []experiment {
	equal := &network{name: "eq", rates: []string{"200mbit", "200mbit"}}
	unequal := &network{name: "un", rates: []string{"200mbit", "50mbit"}}
	rows := []row{
		{name: "1 MiB read, depth 8", rw: "read", block: mib, depth: 8, must: [2]float64{1.95, 0}},
		{name: "1 MiB write, depth 8", rw: "write", block: mib, depth: 8, must: [2]float64{1.95, 0}},
	}
	sum := unbounded(rows...)
	for i := range sum {
		sum[i].must[0] = 0.9 * 1.25
	}
	slow := setup{name: "two paths, one answers 20 ms late", portals: 2, targetFlags: noCache,
		faults: []string{"delay portal 2 20ms"}}
	return []experiment{
		{name: "shaped", title: "Two paths of 200 Mbit/s each, to one", rows: rows, setups: []setup{
			{name: "one path", portals: 1, targetFlags: noCache, network: equal},
			{name: "two sessions", portals: 2, targetFlags: noCache, network: equal},
			{name: "MC/S", portals: 2, mcs: true, targetFlags: noCache, network: equal}}},
		{name: "unequal", title: "Paths of 200 and 50 Mbit/s, to the first alone", rows: sum,
			setups: []setup{
				{name: "200 Mbit/s alone", portals: 1, targetFlags: noCache, network: unequal},
				{name: "both, service-time", portals: 2, targetFlags: noCache, network: unequal}}},
		{name: "slow", title: "A path that is slow, not dead, to the other one alone",
			rows: []row{{name: "4 KiB random read, depth 32", rw: "randread", block: 4 * kib, depth: 32,
				must: [2]float64{0.9, 0}}},
			setups: []setup{{name: "one path", portals: 1, targetFlags: noCache}, slow}},
	}
}
