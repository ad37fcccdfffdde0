package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// print writes the report for a person.
func (r *Inquiry) print(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	line := func(what, format string, args ...any) {
		fmt.Fprintf(t, "%s\t%s\n", what, fmt.Sprintf(format, args...))
	}
	line("url", "%s", r.URL)
	line("identity", "%s", orDash(r.WWID))
	line("device", "%s", orDash(strings.Join([]string{r.Vendor, r.Product, r.Revision}, " ")))
	line("serial", "%s", orDash(r.Serial))
	line("size", "%s (%d bytes)", bytesShort(r.SizeBytes), r.SizeBytes)
	line("blocks", "%d bytes, physically %d", r.BlockSize, r.Physical)
	line("caching", "%s, %s", r.cacheWords(), ifElse(r.FUA, "FUA is obeyed", "no FUA"))
	line("access", "%s%s", ifElse(r.ReadOnly, "write protected", "read and write"), r.mediumWords())
	line("provisioning", "%s", r.thinWords())
	line("limits", "transfer %s (best %s), unmap %s, write same %s", limit(r.MaxTransfer),
		limit(r.OptTransfer), limit(r.MaxUnmap), limit(r.MaxWriteSame))
	if len(r.ALUA) == 0 {
		line("alua", "not supported: all portals are alike")
	} else {
		line("alua", "%s, transitions take up to %s", r.ALUAModes,
			ifElse(r.Transition == 0, "an unknown time", fmt.Sprintf("%d s", r.Transition)))
	}
	for _, g := range r.ALUA {
		line("alua", "group %d: %s%s%s", g.Group, orDash(g.State), ifElse(g.Pref, ", preferred", ""),
			ifElse(g.Ours, ", this portal", ""))
	}
	line("luns", "%s", orDash(lunList(r.LUNs)))
	s := r.Session
	line("session", "portal group %d, error recovery level %d, up to %d connections", s.TPG,
		s.ErrorRecoveryLevel, s.MaxConnections)
	line("digests", "header %s, data %s", s.HeaderDigest, s.DataDigest)
	line("data", "InitialR2T %s, ImmediateData %s, bursts %s, first %s, segments %s",
		ifElse(s.InitialR2T, "Yes", "No"), ifElse(s.ImmediateData, "Yes", "No"),
		bytesShort(uint64(s.MaxBurstLength)), bytesShort(uint64(s.FirstBurstLength)),
		bytesShort(uint64(s.MaxXmitDataSegment)))
	line("initiator", "%s", s.Initiator)
	return t.Flush()
}

func (r *Inquiry) cacheWords() string {
	if r.WriteCache == nil {
		return "the LUN does not tell of a write cache"
	}
	return ifElse(*r.WriteCache, "write cache on (WCE=1)", "no write cache (WCE=0)")
}

func (r *Inquiry) mediumWords() string {
	if r.Rotational == nil {
		return ""
	}
	return ifElse(*r.Rotational, ", rotating", ", not rotating")
}

func (r *Inquiry) thinWords() string {
	if !r.Thin {
		return "full"
	}
	words := []string{"thin"}
	if r.Unmap {
		words = append(words, "UNMAP")
	}
	if r.UnmapSame {
		words = append(words, "WRITE SAME with UNMAP")
	}
	if r.ZeroesUnmap {
		words = append(words, "unmapped blocks read as zeroes")
	}
	return strings.Join(words, ", ")
}

// limit writes a limit in bytes, where 0 stands for none.
func limit(n uint64) string {
	if n == 0 {
		return "-"
	}
	return bytesShort(n)
}

func ifElse(cond bool, yes, no string) string {
	if cond {
		return yes
	}
	return no
}
