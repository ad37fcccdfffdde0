package main

import "braid/iscsi"

// Status is what `braid status -o json` and /v1/status show of a device. Its
// fields are stable; fields may be added. Counters are cumulative since the
// process began.
type Status struct {
	Name      string `json:"name"`
	WWID      string `json:"wwid"` // the LUN's identity, as "naa.6001405..."
	Vendor    string `json:"vendor"`
	Product   string `json:"product"`
	SizeBytes uint64 `json:"size_bytes"`
	BlockSize uint32 `json:"block_size"`
	ReadOnly  bool   `json:"read_only"`

	// State is striped, draining (a flush is under way), queueing (no path is
	// left and I/O waits) or failed (no path is left and I/O is refused).
	State   string       `json:"state"`
	Policy  Policy       `json:"policy"`
	Exports []string     `json:"exports"`
	Clients int          `json:"clients"` // NBD connections
	Paths   []PathStatus `json:"paths"`
	Flushes FlushStatus  `json:"flushes"`

	UnstableBytes  uint64 `json:"unstable_bytes"`  // acknowledged, not known to be stable
	RetainedBytes  uint64 `json:"retained_bytes"`  // copies of them that are kept
	DoubtfulWrites uint64 `json:"doubtful_writes"` // outcome unknown, not yet settled
	DoubtfulResent uint64 `json:"doubtful_resent"` // such writes sent again, in all
	CacheLosses    uint64 `json:"cache_losses"`    // that the target told of
	Replays        uint64 `json:"replays"`         // copies written again
	ReplayedBytes  uint64 `json:"replayed_bytes"`

	AccessChanges    uint64 `json:"access_changes"`    // of target port groups (ALUA)
	GroupSwitches    uint64 `json:"group_switches"`    // another group of paths carried I/O
	ExplicitSwitches uint64 `json:"explicit_switches"` // SET TARGET PORT GROUPS obeyed

	Fences []FenceStatus `json:"fences"`

	// NoPathSince is when the last path was lost, RFC 3339, nil while there is one.
	NoPathSince *string `json:"no_path_since"`

	Initiator     string  `json:"initiator"`
	PID           int     `json:"pid"`
	Version       string  `json:"version"`
	UptimeSeconds float64 `json:"uptime_seconds"`
}

// Policy is the settings that a reader of the table wants to see.
type Policy struct {
	Barrier      string `json:"barrier"`
	PathSelector string `json:"path_selector"`
	NoPath       string `json:"no_path"`
	Fence        string `json:"fence"`
	RetainBytes  uint64 `json:"retain_bytes"`
	Failback     string `json:"failback"`
}

// PathStatus is one path: a session.
type PathStatus struct {
	Slot          int                `json:"slot"`
	URL           string             `json:"url"`
	ISID          string             `json:"isid"` // 12 hexadecimal digits
	TSIH          uint16             `json:"tsih"`
	State         string             `json:"state"`      // active, ghost, faulty, fencing, recovering
	TPG           uint16             `json:"tpg"`        // target portal group tag
	ALUA          string             `json:"alua"`       // access state; empty: not told
	ALUAGroup     int                `json:"alua_group"` // target port group; -1: not told
	Marginal      bool               `json:"marginal"`   // in reserve: it was lost too often
	MarginalCount uint64             `json:"marginal_count"`
	Added         bool               `json:"added"` // while it ran: not in the configuration
	Connections   []ConnectionStatus `json:"connections"`
	InFlight      int                `json:"in_flight"`
	Reads         uint64             `json:"reads"`
	Writes        uint64             `json:"writes"`
	ReadBytes     uint64             `json:"read_bytes"`
	WriteBytes    uint64             `json:"write_bytes"`
	Retries       uint64             `json:"retries"`
	Failovers     uint64             `json:"failovers"`
	ServiceTimeUS float64            `json:"service_time_us"` // smoothed, of one command
	Recovery      iscsi.Counters     `json:"recovery"`        // within its sessions
	Error         string             `json:"error,omitempty"` // why it is not active
}

// ConnectionStatus is one TCP connection of a session.
type ConnectionStatus struct {
	Portal string `json:"portal"`
	CID    uint16 `json:"cid"`
	State  string `json:"state"`
}

// FlushStatus counts flushes and the rounds of SYNCHRONIZE CACHE they took.
type FlushStatus struct {
	Requested  uint64  `json:"requested"`
	Rounds     uint64  `json:"rounds"`
	Failed     uint64  `json:"failed"`
	SecondsSum float64 `json:"seconds_sum"`
}

// FenceStatus counts the fences of one kind.
type FenceStatus struct {
	Kind  string `json:"kind"`
	Count uint64 `json:"count"`
}

// normalized returns s with empty lists in place of absent ones, so that JSON
// shows [] and never null.
func (s Status) normalized() Status {
	s.Exports = append([]string{}, s.Exports...)
	s.Fences = append([]FenceStatus{}, s.Fences...)
	s.Paths = append([]PathStatus{}, s.Paths...)
	for i := range s.Paths {
		p := &s.Paths[i]
		p.Connections = append([]ConnectionStatus{}, p.Connections...)
	}
	return s
}
