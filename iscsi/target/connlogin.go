package target

import (
	"log/slog"
	"time"

	"braid/iscsi/login"
	"braid/iscsi/pdu"
)

// loginState is what a connection knows of its login.
type loginState struct {
	by      time.Duration // it has to be over by then
	begun   bool
	stepper *login.Target
	request pdu.LoginRequest // the latest
	oldStat uint32           // ExpStatSN of the first

	response pdu.LoginResponse // the last, which may have to wait
	text     []byte
}

// handleLogin takes a PDU of the login phase.
func (c *Conn) handleLogin(now time.Duration, p *pdu.PDU) {
	l := &c.login
	r, err := pdu.ParseLoginRequest(p.Header)
	if err != nil {
		if !l.begun {
			c.fail(now) // whatever this is, it does not speak iSCSI
			return
		}
		c.refuseLogin(now, login.Status(login.StatusInvalidDuringLogin), err)
		return
	}
	l.request = r
	if !l.begun {
		l.begun, l.oldStat = true, r.ExpStatSN
		l.stepper = login.NewTarget(c.t.loginConfig(c.portal), r.TSIH == 0)
	}
	if s := c.t.faults.loginStatus(); s != nil {
		c.refuseLogin(now, s, nil)
		return
	}
	resp, text, done, err := l.stepper.Receive(r, p.Data)
	switch {
	case err != nil:
		c.t.cfg.Log(slog.LevelWarn, "login refused", "initiator", l.stepper.InitiatorName(),
			"portal", c.port().Address, "error", err)
		c.sendLogin(resp, text)
		c.finish(now)
	case done:
		l.response, l.text = resp, text
		c.join(now)
	default:
		c.sendLogin(resp, text)
	}
}

func (t *Target) loginConfig(portal int) login.TargetConfig {
	c := &t.cfg
	return login.TargetConfig{
		Names: func(name string) bool { return name == c.Name },
		Alias: c.Alias, PortalGroup: t.portals[portal].Group,
		Secrets: c.Secrets, RequireCHAP: c.RequireCHAP,
		MutualUser: c.MutualUser, MutualSecret: c.MutualSecret, Rand: c.CHAPRand,
		Wishes: login.Wishes{
			HeaderDigest: c.HeaderDigest, DataDigest: c.DataDigest,
			MaxConnections:           c.MaxConnections,
			MaxRecvDataSegmentLength: c.MaxRecvDataSegmentLength,
			MaxBurstLength:           c.MaxBurstLength,
			FirstBurstLength:         c.FirstBurstLength,
			DefaultTime2Wait:         c.DefaultTime2Wait,
			DefaultTime2Retain:       c.DefaultTime2Retain,
			MaxOutstandingR2T:        c.MaxOutstandingR2T,
			ErrorRecoveryLevel:       c.ErrorRecoveryLevel,
			InitialR2T:               c.InitialR2T,
			ImmediateData:            !c.NoImmediateData,
			DataPDUInOrder:           true,
			DataSequenceInOrder:      true,
		},
	}
}

// sendLogin sends a Login Response.
func (c *Conn) sendLogin(resp pdu.LoginResponse, text []byte) {
	r := &c.login.request
	resp.ISID, resp.ITT = r.ISID, r.ITT
	resp.DataLen = len(text)
	if resp.TSIH == 0 {
		resp.TSIH = r.TSIH
	}
	resp.StatSN = c.statSN
	c.statSN++
	if s := c.session; s != nil {
		resp.ExpCmdSN, resp.MaxCmdSN = s.expCmdSN, s.maxCmdSN
	} else {
		resp.ExpCmdSN = r.CmdSN
		resp.MaxCmdSN = r.CmdSN + uint32(c.t.cfg.QueueDepth) - 1
	}
	var h pdu.Header
	resp.Marshal(&h)
	c.push(&h, text, nil, nil, nil)
}

func (c *Conn) refuseLogin(now time.Duration, s *login.StatusError, why error) {
	c.t.cfg.Log(slog.LevelWarn, "login refused", "portal", c.port().Address,
		"status", s.Error(), "error", why)
	c.sendLogin(pdu.LoginResponse{
		CSG: c.login.request.CSG, StatusClass: s.Class, StatusDetail: s.Detail,
	}, nil)
	c.finish(now)
}

func (c *Conn) nexusKey() nexusKey {
	return nexusKey{
		initiator: c.login.stepper.InitiatorName(),
		isid:      c.login.request.ISID,
		group:     c.port().Group,
	}
}

// join makes the connection part of a session, new or old, when its login is
// over. A new session of an initiator port that has one takes its place: the old
// one's commands are aborted first, and the last Login Response waits until that
// is so (RFC 7143 section 6.3.5).
func (c *Conn) join(now time.Duration) {
	t, l := c.t, &c.login
	key := c.nexusKey()
	if l.request.TSIH != 0 {
		c.joinSession(now, key)
		return
	}
	if l.stepper.Discovery() {
		c.enter(newSession(t, key, true, l.request.CmdSN))
		return
	}
	if len(t.sessions) >= maxNexuses/2 {
		c.refuseLogin(now, login.Status(login.StatusOutOfResources), nil)
		return
	}
	if n := t.findNexus(key); n != nil && n.last != nil {
		n.last.end(now, endReinstated)
		if n.last.stored > 0 && !t.faults.noAbort {
			c.state = stateHeld
			return
		}
	}
	if !t.faults.noAbort {
		t.layGhosts(key)
	}
	s := newSession(t, key, false, l.request.CmdSN)
	s.nexus = t.openNexus(key)
	t.welcome(s.nexus)
	s.nexus.last = s
	c.enter(s)
	t.cfg.Log(slog.LevelInfo, "session begun", "initiator", key.initiator, "tsih", s.tsih,
		"portal", c.port().Address)
}

// joinSession adds the connection to an existing session.
func (c *Conn) joinSession(now time.Duration, key nexusKey) {
	s := c.t.findSession(c.login.request.TSIH)
	if s == nil || s.key != key || s.discovery {
		c.refuseLogin(now, login.Status(login.StatusNoSession), nil)
		return
	}
	s.takeCID(now, c.login.request.CID, c.login.oldStat)
	most := s.params.MaxConnections
	if s.params.ErrorRecoveryLevel == 2 {
		most = max(most, 2) // to clean up the other (section 6.3.4)
	}
	if len(s.conns) >= most {
		c.refuseLogin(now, login.Status(login.StatusTooManyConnections), nil)
		return
	}
	c.enter(s)
	c.t.cfg.Log(slog.LevelInfo, "connection joined", "initiator", key.initiator,
		"tsih", s.tsih, "cid", c.cid, "portal", c.port().Address)
}

// enter sends the last Login Response; full feature phase begins behind it.
func (c *Conn) enter(s *session) {
	l := &c.login
	c.params = l.stepper.Params()
	if s.discovery {
		c.params.ErrorRecoveryLevel = 0 // RFC 7143 section 7.4
	}
	if !s.begun {
		s.begun, s.params = true, c.params
		if c.params.ErrorRecoveryLevel > 0 && c.params.DataSequenceInOrder {
			s.params.MaxOutstandingR2T = 1 // RFC 7143 section 13.19
		}
	} else {
		c.params = c.params.WithSession(s.params)
	}
	s.conns = append(s.conns, c)
	c.session, c.cid = s, l.request.CID
	l.response.TSIH = s.tsih
	c.sendLogin(l.response, l.text)
	c.state = stateFull
	c.level, c.acked = s.params.ErrorRecoveryLevel, c.statSN
	c.recv.SetDigests(c.params.HeaderDigest, c.params.DataDigest)
	c.recv.SetMaxData(c.params.MaxRecvDataSegmentLength)
	c.send.SetDigests(c.params.HeaderDigest, c.params.DataDigest)
	c.login = loginState{}
}

// releaseHeld goes on with logins that waited for a store to be done with the
// tasks of an old session.
func (t *Target) releaseHeld(now time.Duration) {
	for _, c := range t.conns {
		if c.state == stateHeld {
			c.state, c.resumed = stateLogin, true
			c.join(now)
			c.pump(now)
		}
	}
}
