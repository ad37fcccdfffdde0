package sim

// The mutants of the first rank are those without which no simulator of this product is
// worth its name. The others are mistakes that were made, or that are easily made.
var mutants = []mutant{
	{
		name: "no fence", file: "barrier/ledger.go", rank: 1, seek: 300,
		old: "	if sent {\n		w.unknown |= 1 << w.at\n	}\n",
		new: "",
	},
	{
		name: "skip the dead session", file: "barrier/sessions.go", rank: 1, seek: 300,
		old: "	l.replayAll(s)\n	if s.bare > s.synced {\n		s.orphaned = true\n",
		new: "	if s.bare > s.synced {\n		s.orphaned = true\n",
	},
	{
		name: "forget the copy", file: "barrier/ledger.go", rank: 1, seek: 300,
		old: "		l.keep(w, s)\n",
		new: "		if w.state == answered && l.isKept(w) {\n			l.kept.remove(w)\n		}\n		l.free(w)\n",
	},
	{
		name: "acknowledge before the fence", file: "barrier/ledger.go", rank: 1, seek: 300,
		old: "	w.state = answered\n	if w.unknown == 0 {\n",
		new: "	w.state, w.unknown = answered, 0\n	if w.unknown == 0 {\n",
	},
	{
		name: "older replay over newer", file: "barrier/ledger.go", rank: 1, seek: 300,
		old: "	} else if l.cut(w.Off, w.End) && l.round.active && !w.Stable {\n",
		new: "	} else if !w.Stable && l.cut(w.Off, w.End) && l.round.active {\n",
	},

	{
		name: "answer early, hold the blocks", file: "barrier/ledger.go", rank: 2, seek: 1500,
		old: "	w.state = answered\n	if w.unknown == 0 {\n",
		new: "	w.state = answered\n	if w.unknown != 0 && w.Owner != nil {\n" +
			"		l.acked = append(l.acked, w.Owner)\n		w.Owner = nil\n	}\n	if w.unknown == 0 {\n",
	},
	{
		name: "overlapping writes out", file: "barrier/ledger.go", rank: 2, seek: 1500,
		old: "	if l.out.overlaps(w.Off, w.End) || l.behindWaiter(w) {\n		w.state = waiting\n",
		new: "	if false {\n		w.state = waiting\n",
	},
	{
		name: "number of the present, not of the SYNC", file: "barrier/sessions.go", rank: 2, seek: 1500,
		old: "	s.synced = max(s.synced, t.upTo)\n",
		new: "	t.upTo = s.acked\n	s.synced = max(s.synced, t.upTo)\n",
	},
	{
		name: "lost copies stay lost", file: "mpath/answer.go", rank: 2, seek: 1500,
		old: "		d.ledger.CacheLost()\n",
		new: "",
	},
	{
		name: "reads before replays", file: "barrier/keep.go", rank: 2, seek: 1500,
		old: "			verdict = Held\n",
		new: "			verdict = Clear\n",
	},
	{
		name: "reads of before the loss", file: "mpath/answer.go", rank: 2, seek: 1500,
		old: "		if o.epoch != d.ledger.Epoch() {\n",
		new: "		if false {\n",
	},
	{
		name: "siblings are not asked", file: "mpath/fence.go", rank: 2, seek: 1500,
		old: "o.proven < s.verifiedAt {\n",
		new: "o.proven < -1 {\n",
	},
	{
		name: "a cut copy is not covered", file: "barrier/ledger.go", rank: 2, seek: 1500,
		old: "	} else if l.cut(w.Off, w.End) && l.round.active && !w.Stable {\n",
		new: "	} else if l.cut(w.Off, w.End) && false {\n",
	},
	{
		name: "the largest writes go bare", file: "mpath/admit.go", rank: 2, seek: 1500,
		old: "	if room > d.ledger.Limit() && r.Op == Write && d.lun.FUA {\n" +
			"		r.bare, r.stable = true, true\n",
		new: "	if room > d.ledger.Limit() {\n		r.bare, r.stable = true, r.Op == Write && d.lun.FUA\n",
	},
	{
		name: "FUA without FUA", file: "mpath/split.go", rank: 2, seek: 1500,
		old: "	if r.changes() && r.FUA && !r.stable && r.Err == OK {\n",
		new: "	if false {\n",
	},
	{
		name: "SYNC of one session", file: "barrier/coordinator.go", rank: 2, seek: 1500,
		old: "		if s.target > s.synced {\n			return false\n",
		new: "		if i == 0 && s.target > s.synced {\n			return false\n",
	},
}
