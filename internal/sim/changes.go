package sim

import "braid/iscsi/scsi"

// change lets the logical unit become another one, or say so.
func (b *blow) change(kind int, host *targetHost) {
	w := b.w
	switch kind {
	case faultAttention:
		b.attend(host)
	case faultAccess:
		b.access(host)
	case faultGrow:
		w.growth -= min(w.growth, 1+b.rng.Uint64N(w.cfg.Growth))
		for _, h := range w.targets {
			h.t.SetCapacity(0, w.cfg.Blocks-w.growth)
		}
	case faultCaching:
		w.caching = !w.caching
		for _, h := range w.targets {
			h.t.SetWriteCache(0, w.caching)
		}
	case faultProtect:
		b.protect(!b.protected)
		w.agenda.after(b.span(), call(func() { b.protect(false) }))
	}
	for _, h := range w.targets {
		h.soon()
	}
}

// attend gives a unit attention of any kind, of which nothing may be true.
func (b *blow) attend(host *targetHost) {
	a := anyAttention(b.rng)
	if a.Code == 0x2a && a.Qualifier >= 3 && a.Qualifier <= 5 {
		if !b.w.cfg.Strangers {
			return
		}
		b.w.audit.copiesForgotten()
	}
	b.w.logf("attention %02xh/%02xh", a.Code, a.Qualifier)
	host.t.Attend(a, func() bool { return b.rng.IntN(3) > 0 })
}

// access changes the state of a portal group. One at least stays as it is.
func (b *blow) access(host *targetHost) {
	tag := 1 + b.portal
	state := pick(b.rng, scsi.ActiveNonOptimized, scsi.Standby, scsi.Unavailable,
		scsi.Transitioning, scsi.Offline, scsi.ActiveOptimized)
	b.w.logf("group %d is %v", tag, state)
	if err := host.t.SetAccess(tag, state); err != nil {
		panic(err)
	}
	b.w.agenda.after(b.span(), call(func() { _ = host.t.SetAccess(tag, scsi.ActiveOptimized) }))
}

// open makes every portal group active again.
func (f *faults) open() {
	if !f.w.cfg.ALUA {
		return
	}
	for i := range f.w.wires {
		host, _ := f.w.portal(i)
		if err := host.t.SetAccess(1+i, scsi.ActiveOptimized); err != nil {
			panic(err)
		}
	}
}

// protect lets writes be refused, or not any more.
func (f *faults) protect(on bool) {
	if f.protected != on {
		f.w.logf("write protection %v", on)
		for _, h := range f.w.targets {
			h.t.SetReadOnly(0, on)
		}
	}
	if on || f.protected {
		f.protectedA = f.w.agenda.now
	}
	f.protected = on
}
