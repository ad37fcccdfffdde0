package sim

// The mutants of the first rank are tried by every run of the tests. All of them are
// mistakes that were made, or that are easily made.
var mutants = []mutant{
	{
		name: "no fence", rank: 1, seek: 1000,
		edits: []edit{{"barrier/ledger.go",
			"		w.unknown |= 1 << w.at\n		l.doubts++\n", ""}},
	},
	{
		name: "dirty flag", rank: 2, seek: 4000, // the SYNC cleans what was answered since
		edits: []edit{{"barrier/sessions.go",
			"	s.synced, s.firm = max(s.synced, t.upTo), max(s.firm, t.loose)\n",
			"	t.upTo = s.acked\n	s.synced, s.firm = max(s.synced, t.upTo), max(s.firm, t.loose)\n"}},
	},
	{
		name: "number taken at send", rank: 2, seek: 4000,
		edits: []edit{
			{"barrier/ledger.go",
				"	w.epoch, w.round = l.epoch, l.round.id\n",
				"	w.epoch, w.round = l.epoch, l.round.id\n" +
					"	l.slots[slot].acked++\n	w.number = l.slots[slot].acked\n"},
			{"barrier/ledger.go", "		s.acked++\n		w.number = s.acked\n", ""},
		},
	},
	{
		// Answered when its session was replaced, as if each session counted from one.
		name: "sync of an old incarnation counted", rank: 2, seek: 8000,
		edits: []edit{
			{"mpath/slot.go",
				"	if s.syncDone != nil {\n		d.freeOp(s.syncDone)\n		s.syncDone = nil\n	}\n", ""},
			{"mpath/flush.go", "	if o == nil || s.path.Err() != nil",
				"	if o == nil || !s.inLedger || s.path.Err() != nil"},
			{"barrier/sessions.go",
				"l.slots[t.Slot].alive && l.slots[t.Slot].incarnation == t.incarnation\n",
				"l.slots[t.Slot].alive\n"},
			{"barrier/sessions.go",
				"	s.syncing = false\n	if t.epoch",
				"	s.syncing = false\n	if t.incarnation != s.incarnation {\n		t.upTo += s.acked\n	}\n" +
					"	if t.epoch"},
		},
	},
	{
		name: "skip the dead session", rank: 1, seek: 1000,
		edits: []edit{{"barrier/sessions.go",
			"	l.replayAll(s)\n	if s.bare > s.synced || s.left {\n",
			"	if s.bare > s.synced || s.left {\n"}},
	},
	{
		name: "forget copies", rank: 1, seek: 1000,
		edits: []edit{{"barrier/ledger.go",
			"		if !copied {\n			l.kept.insert(w)\n		}\n		l.keep(w, s)\n",
			"		if copied {\n			l.kept.remove(w)\n		}\n		l.free(w)\n"}},
	},
	{
		name: "acknowledge before the fence", rank: 1, seek: 1000,
		edits: []edit{{"barrier/ledger.go",
			"	w.state = answered\n	if w.unknown == 0 {\n",
			"	w.state, w.unknown = answered, 0\n	if w.unknown == 0 {\n"}},
	},
	{
		name: "answer early, hold the blocks", rank: 2, seek: 4000,
		edits: []edit{{"barrier/ledger.go",
			"	w.state = answered\n	if w.unknown == 0 {\n",
			"	w.state = answered\n	if w.unknown != 0 && w.Owner != nil {\n" +
				"		l.acked = append(l.acked, w.Owner)\n		w.Owner = nil\n	}\n	if w.unknown == 0 {\n"}},
	},
	{
		name: "older replay over newer", rank: 1, seek: 1000,
		edits: []edit{{"barrier/ledger.go",
			"	} else if replaying, off, end = l.cut(off, end); replaying",
			"	} else if w.Stable {\n	} else if replaying, off, end = l.cut(off, end); replaying"}},
	},
	{
		name: "two overlapping writes out", rank: 2, seek: 4000,
		edits: []edit{{"barrier/ledger.go",
			"	if l.out.overlaps(w.Off, w.End) || l.waits.first(w.Off, w.End) != nil {\n",
			"	if false {\n"}},
	},
	{
		name: "cut the copy when the newer write begins", rank: 2, seek: 8000,
		edits: []edit{{"barrier/ledger.go",
			"func (l *Ledger) enter(w *Write) {\n",
			"func (l *Ledger) enter(w *Write) {\n" +
				"	if k := l.kept.first(w.Off, w.End); k != nil && k.state == kept && !w.Replay {\n" +
				"		l.forget(k)\n	}\n"}},
	},
	{
		name: "plain retry of a unit attention on SYNC", rank: 2, seek: 8000,
		edits: []edit{
			{"mpath/flush.go", "		d.rounds.Aborted(o.token)\n", "		d.rounds.Retry(o.token)\n"},
			{"mpath/flush.go",
				"	v := judge(o.cmd.Err)\n	d.notice(s, v.notice)\n", "	v := judge(o.cmd.Err)\n"},
		},
	},
	{
		name: "ledger clean at start", rank: 2, seek: 8000,
		edits: []edit{
			{"mpath/device.go", "			d.ledger.MarkDirty(i)\n", ""},
			{"barrier/sessions.go",
				"	if !s.seen || s.orphaned {\n		s.acked++\n", "	if s.orphaned {\n		s.acked++\n"},
		},
	},
	{
		name: "state file ignored", rank: 2, seek: 8000,
		edits: []edit{{"mpath/device.go",
			"		d.slots = append(d.slots, newSlot(now, i, &d.cfg))\n",
			"		cfg.Slots[i].Lost = nil\n		d.slots = append(d.slots, newSlot(now, i, &d.cfg))\n"}},
	},
	{
		name: "no fence at start", rank: 2, seek: 8000, // writes do not wait for it
		edits: []edit{{"mpath/fence.go",
			"		if s.fence.needed && s.fence.startup {\n", "		if s == nil {\n"}},
	},
	{
		name: "reply begun before it is whole", rank: 2, seek: 100,
		edits: []edit{{"mpath/split.go",
			"	if r.parts--; r.parts > 0 {\n		return\n	}\n",
			"	if r.parts--; r.parts > 0 {\n		if r.Op == Read && r.parts == 1 {\n			d.finish(r)\n" +
				"		}\n		return\n	}\n	if r.Op == Read {\n		return\n	}\n"}},
	},
	{
		name: "Logout acknowledges its carrier", rank: 2, seek: 2000,
		edits: []edit{{"iscsi/recovery.go", "ExpStatSN: r.conn.expStatSN", "ExpStatSN: by.expStatSN"}},
	},
	{
		name: "late ExpStatSN", rank: 2, seek: 2000,
		edits: []edit{{"iscsi/command.go",
			"		ExpStatSN:   c.expStatSN,\n", "		ExpStatSN:   c.expStatSN - 1,\n"}},
	},
	{
		name: "CmdSN reuse", rank: 2, seek: 200,
		edits: []edit{{"iscsi/window.go", "	w.next++\n", "	w.next += 1 - sn%8/7\n"}},
	},
	{
		name: "buffer reused while its old connection may still send", rank: 2, seek: 8000,
		edits: []edit{{"iscsi/conn.go", "	reset = reset || c.out.Payload() > 0\n", "	reset = false\n"}},
	},

	// Others.
	{
		name: "lost copies stay lost", rank: 2, seek: 4000,
		edits: []edit{{"mpath/answer.go", "		d.ledger.CacheLost()\n", ""}},
	},
	{
		name: "reads before replays", rank: 2, seek: 4000,
		edits: []edit{{"barrier/keep.go", "			verdict = Held\n", "			verdict = Clear\n"}},
	},
	{
		name: "reads of before the loss", rank: 2, seek: 8000,
		edits: []edit{{"mpath/answer.go", "		if o.epoch != d.ledger.Epoch() {\n", "		if false {\n"}},
	},
	{
		name: "siblings are not asked", rank: 2, seek: 8000,
		edits: []edit{{"mpath/witness.go", "o.proven < since {\n", "o.proven < -1 {\n"}},
	},
	{
		name: "a cut copy is not covered", rank: 2, seek: 8000,
		edits: []edit{{"barrier/ledger.go",
			"l.cut(off, end); replaying && l.round.active",
			"l.cut(off, end); replaying && false"}},
	},
	{
		name: "the largest writes go bare", rank: 2, seek: 4000,
		edits: []edit{{"mpath/admit.go",
			"	if room > d.ledger.Limit() && r.Op == Write && d.lun.FUA {\n" +
				"		r.bare, r.stable = true, true\n",
			"	if room > d.ledger.Limit() {\n		r.bare, r.stable = true, r.Op == Write && d.lun.FUA\n"}},
	},
	{
		name: "FUA without FUA", rank: 2, seek: 4000,
		edits: []edit{{"mpath/split.go",
			"	if r.changes() && r.FUA && !r.stable && r.Err == OK {\n", "	if false {\n"}},
	},
	{
		name: "SYNC of one session", rank: 2, seek: 4000,
		edits: []edit{{"barrier/coordinator.go",
			"		if s.target > s.synced {\n			return false\n",
			"		if i == 0 && s.target > s.synced {\n			return false\n"}},
	},
	{
		name: "what a dead process left is forgotten", rank: 2, seek: 8000,
		edits: []edit{{"barrier/sessions.go", "s.orphaned, s.left = true, true\n", "s.orphaned = true\n"}},
	},
	{
		name: "only the first flush is told of a loss", rank: 2, seek: 8000,
		edits: []edit{{"mpath/flush.go", "f.losses != d.ledger.Losses(): //",
			"false: //"}},
	},
	{
		name: "a loss that nobody was told of ends with its process", rank: 2, seek: 12000,
		edits: []edit{{"mpath/device.go",
			"	if d.persist.untold = cfg.Untold; cfg.Untold {\n", "	if false {\n"}},
	},
	{
		name: "data digests are not looked at", rank: 2, seek: 4000,
		edits: []edit{{"iscsi/pdu/receiver.go",
			"p.DataDigestError = crc != GetDigest", "p.DataDigestError = false && crc != GetDigest"}},
	},
}
