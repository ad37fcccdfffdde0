package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"strconv"
	"time"
)

// A sample is one run.
type sample struct {
	Experiment string  `json:"experiment"`
	Row        string  `json:"row"`
	Setup      string  `json:"setup"`
	Round      int     `json:"round"`
	IOPS       float64 `json:"iops"`
	MBps       float64 `json:"mb_per_second"`
	LatencyUS  float64 `json:"latency_us"` // mean, as the client saw it
	P99US      float64 `json:"p99_us,omitempty"`
	BridgeUS   float64 `json:"bridge_us"` // CPU per I/O, user and system
	TargetUS   float64 `json:"target_us"`
	ClientUS   float64 `json:"client_us"`
	Foreign    float64 `json:"foreign_cores"`
	Dirty      bool    `json:"dirty"`
}

// A load is what a client did.
type load struct {
	ios     float64
	seconds float64
	latency float64 // us
	p99     float64
	cpu     time.Duration
}

type fioJSON struct {
	Jobs []struct {
		Error int     `json:"error"`
		Read  fioSide `json:"read"`
		Write fioSide `json:"write"`
	} `json:"jobs"`
}

type fioSide struct {
	IOs     float64 `json:"total_ios"`
	Runtime float64 `json:"runtime"` // ms
	Clat    struct {
		Mean       float64            `json:"mean"`
		Percentile map[string]float64 `json:"percentile"`
	} `json:"clat_ns"`
}

// fio runs one workload.
func fio(ctx context.Context, r row, socket string, length time.Duration) (load, error) {
	args := []string{"--name=bench", "--ioengine=nbd", "--uri=nbd+unix:///?socket=" + socket,
		"--rw=" + r.rw, "--bs=" + strconv.Itoa(r.block), "--iodepth=" + strconv.Itoa(r.depth),
		"--thread", "--norandommap", "--randrepeat=0", "--size=900m", "--time_based",
		fmt.Sprintf("--runtime=%.1f", length.Seconds()), "--output-format=json"}
	if r.rw == "randrw" {
		args = append(args, "--rwmixread=70")
	}
	if r.fsync > 0 {
		args = append(args, "--fsync="+strconv.Itoa(r.fsync))
	}
	ctx, cancel := context.WithTimeout(ctx, length+patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "fio", args...)
	out, err := cmd.Output()
	if err != nil {
		return load{}, fmt.Errorf("fio: %w: %s", err, out)
	}
	if i := bytes.IndexByte(out, '{'); i > 0 { // the engine talks first
		out = out[i:]
	}
	var j fioJSON
	if err := json.Unmarshal(out, &j); err != nil || len(j.Jobs) != 1 || j.Jobs[0].Error != 0 {
		return load{}, fmt.Errorf("fio: %v in %.500s", err, out)
	}
	rd, wr := j.Jobs[0].Read, j.Jobs[0].Write
	l := load{ios: rd.IOs + wr.IOs, seconds: max(rd.Runtime, wr.Runtime) / 1000,
		cpu: cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()}
	if l.ios == 0 || l.seconds == 0 {
		return l, fmt.Errorf("fio did nothing")
	}
	l.latency = (rd.Clat.Mean*rd.IOs + wr.Clat.Mean*wr.IOs) / l.ios / 1000
	l.p99 = max(rd.Clat.Percentile["99.000000"], wr.Clat.Percentile["99.000000"]) / 1000
	return l, nil
}
