package target

// SessionInfo tells of one session, for status and for tests.
type SessionInfo struct {
	Initiator string
	ISID      [6]byte
	TSIH      uint16
	Group     int // portal group tag
	Discovery bool
	Portals   []int // of its connections, in the order in which they joined
	Counters
}

// Counters count what a session did, since it began.
type Counters struct {
	Reads, Writes, Syncs  uint64 // commands executed; Writes: UNMAP and WRITE SAME too
	ReadBytes, WriteBytes uint64

	// Error recovery: SNACKs that came; PDUs sent again, for those or unasked;
	// R2Ts for data that was lost; tasks that went on over another connection.
	SNACKs, Resent, RecoveryR2Ts, Reassigned uint64
}

// Sessions tells of all sessions, the oldest first.
func (t *Target) Sessions() []SessionInfo {
	var list []SessionInfo
	for _, s := range t.sessions {
		info := SessionInfo{
			Initiator: s.key.initiator, ISID: s.key.isid, TSIH: s.tsih, Group: s.key.group,
			Discovery: s.discovery, Counters: s.counters,
		}
		for _, c := range s.conns {
			info.Portals = append(info.Portals, c.portal)
		}
		list = append(list, info)
	}
	return list
}

// count counts an operation that is about to be given to the store, or a read
// whose data is sent from its memory.
func (k *task) count(kind OpKind, bytes uint64) {
	if k.session == nil {
		return
	}
	switch c := &k.session.counters; kind {
	case OpRead:
		c.Reads++
		c.ReadBytes += bytes
	case OpFlush:
		c.Syncs++
	default:
		c.Writes++
		c.WriteBytes += bytes
	}
}
