package barrier

// key appends what tells two states of the world apart in what can come of them. Counts
// that only grow are taken relative to each other.
func (w *world) key(k []byte) []byte {
	flag := func(bits ...bool) {
		v := byte(0)
		for _, b := range bits {
			v <<= 1
			if b {
				v |= 1
			}
		}
		k = append(k, v)
	}
	l, c := w.l, w.c
	k = append(k, byte(w.begun), byte(w.flushed), byte(w.deaths), byte(w.lost), byte(w.abandoned),
		byte(l.losses-w.told))
	k = append(k, w.acked[:]...)
	k = append(k, w.durable[:]...)
	for f := range w.floor {
		if flag(w.open[f]); w.open[f] {
			k = append(append(k, w.floor[f][:]...), w.await[f])
		}
	}
	k = append(k, w.disk.stable[:]...)
	for b := range mBlocks {
		k = append(k, w.disk.n[b])
		for _, v := range w.disk.vol[b][:w.disk.n[b]] {
			k = append(k, v.val, v.slot)
		}
	}
	for id := 1; id <= w.begun; id++ {
		tag := byte(0)
		if t := w.tags[id]; t >= l.round.id && !w.over[id] {
			tag = byte(t - l.round.id + 1)
		}
		k = append(k, tag)
		flag(w.over[id])
	}
	flag(l.round.active, c.waits, c.drains, c.wanted, c.owed)
	k = append(k, byte(c.drain), byte(c.scope))
	for _, q := range []*flushes{&c.current, &c.next} {
		for f := q.head; f != nil; f = f.next {
			k = append(k, byte(f.Owner.(int)))
		}
		k = append(k, 0xfe)
	}
	for i := range mSlots {
		s := &l.slots[i]
		flag(s.alive, s.orphaned, s.captured, s.syncing, w.unfenced[i], w.attention[i])
		bare, target, orphan := uint64(0), uint64(0), uint64(0)
		if s.orphaned && s.alive && s.orphan > s.synced {
			orphan = s.acked - s.orphan + 1
		}
		if s.bare > s.synced {
			bare = s.acked - s.bare + 1
		}
		if l.round.active && s.target > s.synced {
			target = s.acked - s.target + 1
		}
		k = append(k, byte(s.acked-s.synced), byte(bare), byte(s.out), byte(s.older), byte(target),
			byte(orphan),
			byte(s.failures))
		flag(l.round.active && s.upRound == l.round.id)
		k = w.keyList(k, &s.kept)
	}
	for _, q := range []*list{&l.waiting, &l.ready, &l.pending, &l.failed} {
		k = w.keyList(k, q)
	}
	for _, x := range l.out.writes {
		k = w.keyWrite(k, x)
	}
	return w.keyCommands(k)
}

func (w *world) keyList(k []byte, q *list) []byte {
	for x := q.head; x != nil; x = x.next {
		k = w.keyWrite(k, x)
	}
	return append(k, 0xfd)
}

func (w *world) keyWrite(k []byte, x *Write) []byte {
	l := w.l
	bits := byte(0)
	for i, b := range []bool{x.Replay, x.Keep, x.Owner != nil, x.dropped,
		x.state == out && x.epoch == l.epoch, x.state == out && x.round < l.round.id} {
		if b {
			bits |= 1 << i
		}
	}
	number := byte(0)
	if x.at >= 0 && (x.state == answered || x.state == kept) {
		s := &l.slots[x.at]
		if x.number > s.synced {
			number = byte(s.acked - x.number + 1)
		}
	}
	id := byte(0)
	if len(x.Data) > 0 {
		id = x.Data[0]
	}
	return append(k, byte(x.Off), byte(x.End), id, byte(x.state), byte(x.at), byte(x.unknown),
		bits, number)
}

func (w *world) keyCommands(k []byte) []byte {
	for i := range w.cmds {
		c := &w.cmds[i]
		bits := byte(0)
		for j, b := range []bool{c.sync, c.ghost, c.done, c.refused, c.sync && w.l.current(c.token),
			c.sync && c.token.epoch == w.l.epoch} {
			if b {
				bits |= 1 << j
			}
		}
		up := byte(0)
		if c.sync {
			up = byte(w.l.slots[c.slot].acked - c.token.upTo)
		}
		k = append(k, byte(c.slot), bits, byte(c.id), up)
		if !c.sync {
			k = append(k, c.payload[:]...)
		}
	}
	k = append(k, 0xfc)
	return w.scratch.key(k, w)
}
