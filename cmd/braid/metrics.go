package main

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"braid/iscsi"
)

// deviceMetrics makes metrics of a Status each time they are asked for.
type deviceMetrics struct {
	status func() (Status, error)
}

type metric struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
}

func counter(name, help string, labels ...string) metric {
	return metric{prometheus.NewDesc("braid_"+name, help, labels, nil), prometheus.CounterValue}
}

func gauge(name, help string, labels ...string) metric {
	return metric{prometheus.NewDesc("braid_"+name, help, labels, nil), prometheus.GaugeValue}
}

// The metrics. "path" is the path's slot, "url" its URL.
var (
	mSize      = gauge("size_bytes", "Size of the device.", "device")
	mState     = gauge("state", "1 for the state that the device is in.", "device", "state")
	mClients   = gauge("clients", "NBD connections.", "device")
	mUnstable  = gauge("unstable_bytes", "Acknowledged, not known to be stable.", "device")
	mRetained  = gauge("retained_bytes", "Copies of unstable writes that are kept.", "device")
	mDoubtful  = gauge("doubtful_writes", "Writes whose outcome is not known.", "device")
	mFlushes   = counter("flushes_total", "Flushes that clients asked for.", "device")
	mRounds    = counter("flush_rounds_total", "Rounds of SYNCHRONIZE CACHE.", "device")
	mFailed    = counter("flushes_failed_total", "Flushes that failed.", "device")
	mFlushSecs = counter("flush_seconds_total", "Time spent in rounds.", "device")
	mResent    = counter("doubtful_resent_total", "Such writes, sent again.", "device")
	mLosses    = counter("cache_losses_total", "Losses of a cache that were told of.", "device")
	mReplays   = counter("replays_total", "Copies written again.", "device")
	mReplayed  = counter("replayed_bytes_total", "Bytes of them.", "device")
	mFences    = counter("fences_total", "Fences of lost sessions.", "device", "kind")

	mAccess   = counter("access_changes_total", "Changes of ALUA access states.", "device")
	mSwitches = counter("group_switches_total", "Changes of the group that carries I/O.", "device")
	mExplicit = counter("explicit_switches_total", "SET TARGET PORT GROUPS obeyed.", "device")

	mPathUp     = gauge("path_state", "1 for the state of the path.", "device", "path", "url", "state")
	mPathConns  = gauge("path_connections", "Connections that are up.", "device", "path", "url")
	mInFlight   = gauge("path_in_flight", "Commands out.", "device", "path", "url")
	mReads      = counter("path_reads_total", "Reads answered.", "device", "path", "url")
	mWrites     = counter("path_writes_total", "Writes answered.", "device", "path", "url")
	mReadBytes  = counter("path_read_bytes_total", "Bytes read.", "device", "path", "url")
	mWriteBytes = counter("path_write_bytes_total", "Bytes written.", "device", "path", "url")
	mRetries    = counter("path_retries_total", "Commands sent again.", "device", "path", "url")
	mFailovers  = counter("path_failovers_total", "Sessions lost.", "device", "path", "url")
	mMarginal   = counter("path_marginal_total", "Times in reserve, after too many losses.", "device",
		"path", "url")
	mRecovery = counter("path_recovery_total", "What error recovery did within sessions.",
		"device", "path", "url", "kind")
	mService = gauge("path_service_seconds", "Smoothed time of a command.", "device", "path", "url")
)

// Describe sends nothing: which metrics there are depends on the paths.
func (m deviceMetrics) Describe(chan<- *prometheus.Desc) {}

// Collect makes the metrics of one snapshot.
func (m deviceMetrics) Collect(ch chan<- prometheus.Metric) {
	s, err := m.status()
	if err != nil {
		ch <- prometheus.NewInvalidMetric(mState.desc, err)
		return
	}
	put := func(m metric, value float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(m.desc, m.kind, value, labels...)
	}
	put(mSize, float64(s.SizeBytes), s.Name)
	for _, state := range []string{"striped", "draining", "queueing", "failed"} {
		put(mState, one(s.State == state), s.Name, state)
	}
	put(mClients, float64(s.Clients), s.Name)
	put(mUnstable, float64(s.UnstableBytes), s.Name)
	put(mRetained, float64(s.RetainedBytes), s.Name)
	put(mDoubtful, float64(s.DoubtfulWrites), s.Name)
	put(mResent, float64(s.DoubtfulResent), s.Name)
	put(mLosses, float64(s.CacheLosses), s.Name)
	put(mReplays, float64(s.Replays), s.Name)
	put(mReplayed, float64(s.ReplayedBytes), s.Name)
	put(mFlushes, float64(s.Flushes.Requested), s.Name)
	put(mRounds, float64(s.Flushes.Rounds), s.Name)
	put(mFailed, float64(s.Flushes.Failed), s.Name)
	put(mFlushSecs, s.Flushes.SecondsSum, s.Name)
	for _, f := range s.Fences {
		put(mFences, float64(f.Count), s.Name, f.Kind)
	}
	put(mAccess, float64(s.AccessChanges), s.Name)
	put(mSwitches, float64(s.GroupSwitches), s.Name)
	put(mExplicit, float64(s.ExplicitSwitches), s.Name)
	for _, p := range s.Paths {
		collectPath(put, s.Name, strconv.Itoa(p.Slot), p)
	}
}

func collectPath(put func(metric, float64, ...string), device, slot string, p PathStatus) {
	for _, state := range []string{"active", "ghost", "faulty", "fencing", "recovering"} {
		put(mPathUp, one(p.State == state), device, slot, p.URL, state)
	}
	up := 0.0
	for _, c := range p.Connections {
		up += one(c.State == "up")
	}
	labels := []string{device, slot, p.URL}
	put(mPathConns, up, labels...)
	put(mInFlight, float64(p.InFlight), labels...)
	put(mReads, float64(p.Reads), labels...)
	put(mWrites, float64(p.Writes), labels...)
	put(mReadBytes, float64(p.ReadBytes), labels...)
	put(mWriteBytes, float64(p.WriteBytes), labels...)
	put(mRetries, float64(p.Retries), labels...)
	put(mFailovers, float64(p.Failovers), labels...)
	put(mMarginal, float64(p.MarginalCount), labels...)
	for kind, n := range recoveryKinds(&p.Recovery) {
		put(mRecovery, float64(n), append(labels, kind)...)
	}
	put(mService, p.ServiceTimeUS/1e6, labels...)
}

// recoveryKinds gives each of the counters its name.
func recoveryKinds(c *iscsi.Counters) map[string]uint64 {
	return map[string]uint64{
		"digest_error": c.DigestErrors, "data_snack": c.DataSNACKs, "r2t_snack": c.R2TSNACKs,
		"status_snack": c.StatusSNACKs, "data_ack": c.DataACKs, "retried_command": c.Retries,
		"reassigned_task": c.Reassigned, "recovered_connection": c.Connections,
		"fallback": c.Fallbacks,
	}
}

func one(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// newRegistry gives the metrics of a device and of its process.
func newRegistry(status func() (Status, error)) *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(deviceMetrics{status}, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}
