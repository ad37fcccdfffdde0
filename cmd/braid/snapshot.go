package main

import (
	"os"
	"time"
)

// snapshot copies what the status shows. It is called on the loop's thread.
func (d *daemon) snapshot(now time.Duration) Status {
	dev := d.stack.Device()
	c := &d.plan.config
	st, lun := dev.Status(now), dev.LUN()
	s := Status{
		Name: string(c.Name), WWID: lun.Identity, Vendor: lun.Vendor, Product: lun.Product,
		SizeBytes: lun.Bytes(), BlockSize: lun.BlockSize, ReadOnly: dev.ReadOnly(),
		State: st.State,
		Policy: Policy{string(c.Barrier), string(c.PathSelector), noPathOf(dev.NoPath()).String(),
			string(c.Fence), uint64(c.Retain), c.Failback.String()},
		Flushes: FlushStatus{st.Counters.Flushes.Requested, st.Counters.Flushes.Rounds,
			st.Counters.Flushes.Failed, st.Counters.Flushes.Time.Seconds()},
		UnstableBytes: st.Unstable, RetainedBytes: st.Retained,
		DoubtfulWrites: uint64(st.Doubtful), DoubtfulResent: st.Counters.Resent,
		CacheLosses: st.Counters.CacheLosses, Replays: st.Counters.Replays,
		ReplayedBytes: st.Counters.ReplayBytes,
		AccessChanges: st.Counters.AccessChanges, GroupSwitches: st.Counters.GroupSwitches,
		ExplicitSwitches: st.Counters.ExplicitSwitches,
		Initiator:        d.plan.initiator, PID: os.Getpid(), Version: version(),
		UptimeSeconds: time.Since(d.began).Seconds(),
	}
	for _, f := range st.Counters.Fences {
		s.Fences = append(s.Fences, FenceStatus(f))
	}
	for i, e := range c.NBD {
		if i < len(d.addresses) {
			s.Exports = append(s.Exports, d.addresses[i])
		} else {
			s.Exports = append(s.Exports, e.String())
		}
	}
	if server := d.stack.Server(); server != nil {
		s.Clients = server.Stats().Clients
	}
	if st.NoPathFor > 0 {
		since := time.Now().Add(-st.NoPathFor).UTC().Format(time.RFC3339)
		s.NoPathSince = &since
	}
	for _, p := range st.Paths {
		if p.Removed && p.State == "faulty" {
			continue // it is fenced and done with
		}
		path := PathStatus{
			Slot: p.Index, Added: p.Added, ALUA: p.Access, ALUAGroup: -1,
			Marginal: p.Marginal, MarginalCount: p.Counters.Marginal,
			URL: d.plan.urls[p.Index], ISID: hexISID(d.plan.sessions[p.Index].ISID),
			State: p.State, InFlight: p.InFlight,
			Reads: p.Counters.Reads, Writes: p.Counters.Writes,
			ReadBytes: p.Counters.ReadBytes, WriteBytes: p.Counters.WriteBytes,
			Retries: p.Counters.Retries, Failovers: p.Counters.Failovers,
			ServiceTimeUS: float64(p.Counters.ServiceTime) / float64(time.Microsecond),
			Recovery:      d.stack.Recovery(p.Index),
		}
		if p.Access != "" {
			path.ALUAGroup = int(p.Group)
		}
		if p.State != "active" && p.State != "ghost" && p.LastErr != nil {
			path.Error = explain(p.LastErr).Error()
		}
		if session := d.stack.Session(p.Index); session != nil && session.Err() == nil {
			n := session.Nexus()
			path.TSIH, path.TPG = n.TSIH, n.TPGT
			for _, conn := range session.Conns() {
				path.Connections = append(path.Connections,
					ConnectionStatus{conn.Address(), conn.CID(), conn.State()})
			}
		}
		s.Paths = append(s.Paths, path)
	}
	return s
}
