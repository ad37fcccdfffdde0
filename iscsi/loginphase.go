package iscsi

import (
	"errors"
	"log/slog"
	"slices"
	"time"

	"braid/iscsi/login"
	"braid/iscsi/pdu"
)

// loginSegment is the longest data segment of the login phase, RFC 7143 section
// 6.2; until the keys are agreed on neither side may send a longer one.
const loginSegment = 8192

// A loginPhase is a connection's way from the dial to the full feature phase.
type loginPhase struct {
	initiator *login.Initiator
	task      *task
	numbered  bool // a first answer has told the StatSN
	deadline  time.Duration
	timeout   time.Duration
}

// startLogin sends the first Login Request.
func (c *Conn) startLogin() error {
	c.state = connLogin
	c.login.initiator = login.NewInitiator(c.s.cfg.Offer, c == c.s.leading, c.s.cfg.CHAPRand)
	if c.login.task = c.s.tasks.get(kindLogin); c.login.task == nil {
		return errNoTag
	}
	c.login.task.conn = c
	c.sendLogin()
	return nil
}

// errNoTag cannot last: 65535 tasks are out.
var errNoTag = errors.New("no task tag is free")

// sendLogin sends the next Login Request. All of one login carry the same task
// tag and the same CmdSN, which the first command after it carries too (RFC 7143
// section 11.12.8).
func (c *Conn) sendLogin() {
	r, text := c.login.initiator.Next()
	r.ISID = c.s.cfg.ISID
	r.TSIH = c.s.nexus.TSIH
	r.CID = c.cid
	r.ITT = c.login.task.itt
	r.CmdSN = c.s.window.next
	r.ExpStatSN = c.expStatSN
	r.DataLen = len(text)
	var h pdu.Header
	r.Marshal(&h)
	c.out.Push(&h, append([]byte(nil), text...), pdu.Urgent)
}

func (c *Conn) loginResponse(now time.Duration, h *pdu.Header, data []byte) error {
	r, err := pdu.ParseLoginResponse(h)
	if err != nil {
		return err
	}
	if r.ITT != c.login.task.itt {
		return breach(h, "the login's tag is 0x%08x", c.login.task.itt)
	}
	if r.StatusClass == 0 {
		if c.login.numbered && r.StatSN != c.expStatSN {
			return breach(h, "StatSN %d, %d was due", r.StatSN, c.expStatSN)
		}
		c.expStatSN, c.login.numbered = r.StatSN+1, true
	}
	done, err := c.login.initiator.Receive(r, data)
	if err != nil {
		return err
	}
	if !done {
		c.sendLogin()
		return nil
	}
	return c.loginDone(now, h, &r)
}

// loginDone takes the connection into the full feature phase.
func (c *Conn) loginDone(now time.Duration, h *pdu.Header, r *pdu.LoginResponse) error {
	s := c.s
	leads := c == s.leading
	c.params = c.login.initiator.Params()
	switch {
	case r.TSIH == 0:
		return breach(h, "no TSIH in the final response")
	case !leads && r.TSIH != s.nexus.TSIH:
		return breach(h, "TSIH %d, the session has %d", r.TSIH, s.nexus.TSIH)
	}
	joins := !leads && !c.carries()
	if got := c.params.TargetPortalGroupTag; joins && got >= 0 && got != int(s.nexus.TPGT) {
		return &PortalGroupError{Want: int(s.nexus.TPGT), Got: got}
	}
	c.endLogin()
	c.in.SetMaxData(c.params.MaxRecvDataSegmentLength)
	c.in.SetDigests(c.params.HeaderDigest, c.params.DataDigest)
	c.out.SetDigests(c.params.HeaderDigest, c.params.DataDigest)
	c.state = connUp
	c.startStatus()
	switch {
	case c.carries():
		s.window.start(r.ExpCmdSN, r.MaxCmdSN)
		s.carrierJoined(now)
	case leads:
		s.params = c.params
		s.opened(now, c, r)
	default:
		s.window.update(r.ExpCmdSN, r.MaxCmdSN)
		c.params = c.params.WithSession(s.params)
		s.joined(c)
		s.reinstated(now, c)
	}
	return nil
}

// endLogin gives back what only the login needed.
func (c *Conn) endLogin() {
	if c.login.task != nil {
		c.s.tasks.put(c.login.task)
	}
	c.login = loginPhase{}
}

// lead opens the leading connection through a portal, or where a redirect led.
func (s *Session) lead(now time.Duration, portal int, address string) {
	s.leading = s.dial(now, portal, address)
}

// dial makes a connection that wants to be dialled. Its CID was not used before:
// a target may confuse a CID that comes again with a connection to be recovered.
func (s *Session) dial(now time.Duration, portal int, address string) *Conn {
	inUse := func(c *Conn) bool { return c.cid == s.nextCID }
	for slices.ContainsFunc(s.conns, inUse) {
		s.nextCID++
	}
	c := newConn(s, s.nextCID, portal, address)
	s.nextCID++
	c.login.timeout = s.cfg.LoginTimeout
	c.login.deadline = now + s.cfg.LoginTimeout
	s.conns = append(s.conns, c)
	return c
}

// leadFailed goes on after the leading connection could not be opened: where a
// redirect points, else through the next portal, else nowhere.
func (s *Session) leadFailed(now time.Duration, c *Conn, err error) {
	cause := c.errorOf(err)
	address, again := c.again(err, &s.redirects)
	c.endLogin()
	c.end(true)
	if again {
		s.lead(now, c.portal, address)
		return
	}
	if next := c.portal + 1; next < len(s.cfg.Portals) && !Permanent(err) {
		s.cfg.Log(slog.LevelWarn, "leading connection failed, trying the next portal",
			"error", cause)
		s.lead(now, next, s.cfg.Portals[next])
		return
	}
	s.die(cause)
}

// again says whether and where a failed login is worth another one at once: where
// a redirect points, bounded by MaxRedirects, or at the same portal with the one
// CHAP algorithm that targets know which cannot take a list of them.
func (c *Conn) again(err error, redirects *int) (address string, ok bool) {
	s := c.s
	var to *login.RedirectError
	if errors.As(err, &to) && *redirects < s.cfg.MaxRedirects {
		*redirects++
		s.cfg.Log(slog.LevelInfo, "login redirected", "from", c.address, "to", to.Address)
		return to.Address, true
	}
	if in := c.login.initiator; in != nil && in.Fallback() {
		s.cfg.Log(slog.LevelInfo, "login failed with all CHAP algorithms on offer, trying MD5",
			"portal", c.address, "error", err)
		s.cfg.Offer.Auth.Algorithms = []login.Algorithm{login.MD5}
		return c.address, true
	}
	return "", false
}

// opened brings the session up.
func (s *Session) opened(now time.Duration, c *Conn, r *pdu.LoginResponse) {
	s.window.start(r.ExpCmdSN, r.MaxCmdSN)
	s.nexus.TSIH = r.TSIH
	s.nexus.TPGT = uint16(max(0, c.params.TargetPortalGroupTag))
	s.nexus.Time2Wait = time.Duration(c.params.DefaultTime2Wait) * time.Second
	s.nexus.Time2Retain = time.Duration(c.params.DefaultTime2Retain) * time.Second
	s.level = s.params.ErrorRecoveryLevel
	s.nexus.ErrorRecoveryLevel = s.level
	s.state = sessionUp
	s.planJoins(c.portal)
	s.startJoins(now)
}
