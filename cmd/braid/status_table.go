package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"braid/iscsi"
)

// renderTable writes a device as `multipath -ll` would: the device, its policy,
// its group of paths, and each path with what it is connected to.
func renderTable(w io.Writer, s Status, wide bool) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s (%s) %s %s\n", s.Name, orDash(s.WWID), strings.Join(s.Exports, " "),
		orDash(strings.Trim(s.Vendor+","+s.Product, ",")))
	rw := "rw"
	if s.ReadOnly {
		rw = "ro"
	}
	fmt.Fprintf(&b, "size=%s block=%d state=%s no_path=%s fence=%s wp=%s\n",
		bytesShort(s.SizeBytes), s.BlockSize, s.State, s.Policy.NoPath, s.Policy.Fence, rw)
	writeGroups(&b, s, wide)
	if wide {
		writeCounters(&b, s)
	}
	if s.NoPathSince != nil {
		fmt.Fprintf(&b, "  no path since %s\n", *s.NoPathSince)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// writeGroups writes the paths by target port group: the one that carries I/O first.
func writeGroups(b *strings.Builder, s Status, wide bool) {
	groups := slices.SortedStableFunc(slices.Values(groupPaths(s.Paths)),
		func(a, b []PathStatus) int { return groupOrder(a) - groupOrder(b) })
	for i, g := range groups {
		branch, indent := "|", "| "
		if i == len(groups)-1 {
			branch, indent = "`", "  "
		}
		fmt.Fprintf(b, "%s-+- policy='%s' barrier='%s' status=%s\n", branch,
			s.Policy.PathSelector, s.Policy.Barrier, groupState(g))
		writePaths(b, g, indent, wide)
	}
}

// groupPaths sorts paths into their groups.
func groupPaths(paths []PathStatus) (groups [][]PathStatus) {
	for _, p := range paths {
		i := slices.IndexFunc(groups, func(g []PathStatus) bool {
			return g[0].ALUAGroup == p.ALUAGroup
		})
		if i < 0 {
			i = len(groups)
			groups = append(groups, nil)
		}
		groups[i] = append(groups[i], p)
	}
	if len(groups) == 0 {
		groups = [][]PathStatus{nil}
	}
	return groups
}

func groupOrder(g []PathStatus) int {
	return slices.Index([]string{"active", "enabled", "recovering", "failed"}, groupState(g))
}

// groupState sums up the paths: active if one is.
func groupState(paths []PathStatus) string {
	state := "failed"
	for _, p := range paths {
		switch p.State {
		case "active":
			return "active"
		case "ghost":
			state = "enabled"
		case "fencing", "recovering":
			if state == "failed" {
				state = "recovering"
			}
		}
	}
	return state
}

func writePaths(b *strings.Builder, paths []PathStatus, indent string, wide bool) {
	t := tabwriter.NewWriter(b, 0, 8, 1, ' ', 0)
	for i, p := range paths {
		branch := "|-"
		if i == len(paths)-1 {
			branch = "`-"
		}
		up := 0
		for _, c := range p.Connections {
			if c.State == "up" {
				up++
			}
		}
		fmt.Fprintf(t, "%s%s %d\t%s\t%s\t%s\t%d/%d conn\t%d in flight", indent, branch, p.Slot,
			portals(p), p.State, orDash(p.ALUA), up, len(p.Connections), p.InFlight)
		if wide {
			fmt.Fprintf(t, "\tisid %s tsih %d tpg %d\tr %d (%s)\tw %d (%s)\t%d retries\t%.0f us",
				p.ISID, p.TSIH, p.TPG, p.Reads, bytesShort(p.ReadBytes), p.Writes,
				bytesShort(p.WriteBytes), p.Retries, p.ServiceTimeUS)
			if r := p.Recovery; r != (iscsi.Counters{}) {
				fmt.Fprintf(t, "\trecovery: %d SNACKs, %d commands sent again, %d reassigned, "+
					"%d connections", r.DataSNACKs+r.R2TSNACKs+r.StatusSNACKs, r.Retries,
					r.Reassigned, r.Connections)
			}
		}
		if note := pathNote(p); note != "" {
			fmt.Fprintf(t, "\t%s", note)
		}
		fmt.Fprintln(t)
	}
	t.Flush() // into a strings.Builder, which takes everything
}

func writeCounters(b *strings.Builder, s Status) {
	mean := time.Duration(0)
	if s.Flushes.Rounds > 0 {
		mean = time.Duration(s.Flushes.SecondsSum / float64(s.Flushes.Rounds) * float64(time.Second))
	}
	fmt.Fprintf(b, "  flushes: %d in %d rounds of %v, %d failed\n", s.Flushes.Requested,
		s.Flushes.Rounds, mean.Round(10*time.Microsecond), s.Flushes.Failed)
	fmt.Fprintf(b, "  writes: %s unstable, %s retained of %s, %d doubtful\n",
		bytesShort(s.UnstableBytes), bytesShort(s.RetainedBytes), bytesShort(s.Policy.RetainBytes),
		s.DoubtfulWrites)
	if s.AccessChanges > 0 {
		fmt.Fprintf(b, "  access states: %d changes, %d switches of the group, %d on request\n",
			s.AccessChanges, s.GroupSwitches, s.ExplicitSwitches)
	}
	for _, f := range s.Fences {
		fmt.Fprintf(b, "  fences: %d by %s\n", f.Count, f.Kind)
	}
	fmt.Fprintf(b, "  %d clients, pid %d, up %v, initiator %s\n", s.Clients, s.PID,
		time.Duration(s.UptimeSeconds*float64(time.Second)).Round(time.Second), s.Initiator)
}

// pathNote is what else is to be said of a path.
func pathNote(p PathStatus) string {
	var notes []string
	if p.Marginal {
		notes = append(notes, "in reserve: lost too often")
	}
	if p.Added {
		notes = append(notes, "added, not in the configuration")
	}
	if p.Error != "" {
		notes = append(notes, p.Error)
	}
	return strings.Join(notes, "; ")
}

// portals is what tells the paths of a device apart: the connected portals, or
// else the URL.
func portals(p PathStatus) string {
	if len(p.Connections) == 0 {
		return p.URL
	}
	names := make([]string, 0, len(p.Connections))
	for _, c := range p.Connections {
		names = append(names, strings.TrimSuffix(c.Portal, ":"+defaultPort))
	}
	return strings.Join(names, ",")
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// bytesShort writes a count of bytes as multipath does: 10G, 1.5T, 512.
func bytesShort(n uint64) string {
	const units = "BKMGTPE"
	value, unit := float64(n), 0
	for value >= 1024 && unit < len(units)-1 {
		value /= 1024
		unit++
	}
	if unit == 0 {
		return fmt.Sprint(n)
	}
	text := strings.TrimSuffix(fmt.Sprintf("%.1f", value), ".0")
	return text + units[unit:unit+1]
}
