package main

import (
	"encoding/json"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"braid/iscsi/login"
	"braid/iscsi/scsi"
)

func newInquire() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "inquire URL",
		Short: "Show what a LUN is: identity, capacity, caching, provisioning, ALUA, limits",
		Args:  argCount(1, 1, "one URL"),
	}
	cmd.Flags().StringVarP(&output, "output", "o", "table", "table or json")
	flags := NewFlags(cmd.Flags(), loginFlags...)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := choose(&output, []byte(output), "table", "json"); err != nil {
			return usagef("--output: %w", err)
		}
		report, err := inquire(args[0], flags)
		if err != nil {
			return explain(err)
		}
		if output == "json" {
			raw, err := json.Marshal(report)
			if err != nil {
				return err
			}
			return printJSON(cmd.OutOrStdout(), raw)
		}
		return report.print(cmd.OutOrStdout())
	}
	return cmd
}

// An Inquiry is what a LUN and the session to it were found to be.
type Inquiry struct {
	URL          string     `json:"url"`
	WWID         string     `json:"wwid"`
	Vendor       string     `json:"vendor"`
	Product      string     `json:"product"`
	Revision     string     `json:"revision"`
	Serial       string     `json:"serial"`
	SizeBytes    uint64     `json:"size_bytes"`
	BlockSize    uint32     `json:"block_size"`
	Physical     uint32     `json:"physical_block_size"`
	ReadOnly     bool       `json:"read_only"`
	WriteCache   *bool      `json:"write_cache"` // nil: the LUN does not tell
	FUA          bool       `json:"fua"`
	Rotational   *bool      `json:"rotational"` // nil: the LUN does not tell
	Thin         bool       `json:"thin"`
	Unmap        bool       `json:"unmap"`
	UnmapSame    bool       `json:"write_same_unmap"`
	ZeroesUnmap  bool       `json:"unmapped_reads_zeroes"`
	MaxTransfer  uint64     `json:"max_transfer_bytes"` // 0: not limited
	OptTransfer  uint64     `json:"opt_transfer_bytes"`
	MaxUnmap     uint64     `json:"max_unmap_bytes"`
	MaxWriteSame uint64     `json:"max_write_same_bytes"`
	ALUA         []aluaInfo `json:"alua"`
	ALUAModes    string     `json:"alua_modes"`              // who changes the states
	Transition   int        `json:"alua_transition_seconds"` // that it may take; 0: not told
	LUNs         []uint32   `json:"luns"`
	Session      sessInfo   `json:"session"`
}

type aluaInfo struct {
	Group uint16 `json:"group"`
	State string `json:"state"`
	Pref  bool   `json:"preferred"`
	Ours  bool   `json:"ours"` // the portal of this session is in it
}

type sessInfo struct {
	Initiator          string `json:"initiator"`
	ISID               string `json:"isid"`
	TSIH               uint16 `json:"tsih"`
	TPG                uint16 `json:"tpg"`
	Alias              string `json:"alias"`
	ErrorRecoveryLevel int    `json:"error_recovery_level"`
	MaxConnections     int    `json:"max_connections"`
	HeaderDigest       string `json:"header_digest"`
	DataDigest         string `json:"data_digest"`
	InitialR2T         bool   `json:"initial_r2t"`
	ImmediateData      bool   `json:"immediate_data"`
	MaxBurstLength     int    `json:"max_burst_length"`
	FirstBurstLength   int    `json:"first_burst_length"`
	MaxXmitDataSegment int    `json:"max_xmit_data_segment_length"`
	Time2Wait          int    `json:"default_time2wait"`
	Time2Retain        int    `json:"default_time2retain"`
}

func inquire(url string, flags *Flags) (*Inquiry, error) {
	c := Defaults()
	if err := flags.Apply(&c); err != nil {
		return nil, err
	}
	u, err := ParseURL(url)
	if err != nil {
		return nil, usagef("%w", err)
	}
	c.URLs = URLs{u}
	initiator, cfg, err := c.passingSession(u)
	if err != nil {
		return nil, err
	}
	cfg.ISID = passingISID(initiator, "inquire")
	cfg.Offer.MaxConnections = maxConnections // how many are granted; none but the first is made
	t, err := newTalk(cfg)
	if err != nil {
		return nil, err
	}
	defer t.leave()
	r := &Inquiry{URL: u.String(), ALUA: []aluaInfo{}, LUNs: []uint32{}}
	r.Session = describeSession(t, initiator)
	r.askLUNs(t)
	err = r.ask(t, u)
	var missing *noLUNError
	if errors.As(err, &missing) && len(r.LUNs) == 0 {
		// Some targets answer REPORT LUNS at a LUN that is there only.
		cfg.ISID = passingISID(initiator, "report")
		cfg.LUN = scsi.EncodeLUN(0)
		if zero, e := newTalk(cfg); e == nil {
			r.askLUNs(zero)
			zero.leave()
		}
		missing.luns = r.LUNs
	}
	return r, err
}

func describeSession(t *talk, initiator string) sessInfo {
	var p login.Params
	var n scsi.Nexus
	done := make(chan struct{})
	// If the session has ended by now, the first command will say so.
	posted := t.loop.Post(func(time.Duration) {
		p, n = t.session.Params(), t.session.Nexus()
		close(done)
	})
	if posted {
		select {
		case <-done:
		case <-t.loop.Done():
			return sessInfo{}
		}
	}
	return sessInfo{
		Initiator: initiator, ISID: hexISID(n.ISID), TSIH: n.TSIH, TPG: n.TPGT,
		Alias: p.TargetAlias, ErrorRecoveryLevel: p.ErrorRecoveryLevel,
		MaxConnections: p.MaxConnections, HeaderDigest: digestWord(p.HeaderDigest),
		DataDigest: digestWord(p.DataDigest), InitialR2T: p.InitialR2T,
		ImmediateData: p.ImmediateData, MaxBurstLength: p.MaxBurstLength,
		FirstBurstLength: p.FirstBurstLength, MaxXmitDataSegment: p.MaxXmitDataSegmentLength,
		Time2Wait: p.DefaultTime2Wait, Time2Retain: p.DefaultTime2Retain,
	}
}
