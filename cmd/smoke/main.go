package main

import (
	"crypto/rand"
	"fmt"
	"log/slog"
	mrand "math/rand/v2"
	"os"
	"runtime/pprof"
	"strings"
	"time"

	"braid/barrier"
	"braid/internal/loop"
	"braid/internal/stack"
	"braid/iscsi"
	"braid/iscsi/login"
	"braid/iscsi/scsi"
	"braid/mpath"
)

type drv struct {
	k  *stack.Stack
	l  *loop.Loop
	ok bool
	path string
}

func (d *drv) Step(now time.Duration) time.Duration {
	n := d.k.Step(now)
	if d.k.Device().Fatal() != nil { fmt.Println("FATAL", d.k.Device().Fatal()); os.Exit(1) }
	if !d.ok && d.k.Device().Ready() {
		d.ok = true
		_, err := d.l.Listen("unix", d.path, d.k.Accept)
		fmt.Println("ready", err)
	}
	return n
}

func main() {
	// smoke sock iqn portal[,portal] ...
	l, err := loop.New(loop.Config{})
	if err != nil { panic(err) }
	pool, err := loop.NewPool(1 << 30)
	if err != nil { panic(err) }
	logf := func(level slog.Level, msg string, args ...any) { if level >= slog.LevelInfo { fmt.Fprintln(os.Stderr, l.Now(), level, msg, fmt.Sprint(args...)) } }
	cfg := stack.Config{Network: l, Pool: pool, Rand: mrand.New(mrand.NewPCG(1, 2)), CHAPRand: rand.Reader, Log: logf, Export: "lun"}
	cfg.Device = mpath.Config{Barrier: barrier.Drain, NoPath: mpath.Forever, Retain: 256 << 20, Coherent: true, FenceSettle: time.Second, FenceMargin: 5 * time.Second}
	for i, p := range os.Args[3:] {
		o := login.DefaultOffer()
		o.InitiatorName, o.TargetName = "iqn.2026-01.test:init", os.Args[2]
		cfg.Sessions = append(cfg.Sessions, iscsi.Config{Offer: o, ISID: [6]byte{0x80, 1, 2, 3, 0, byte(i)}, Portals: strings.Split(p, ","), LUN: scsi.EncodeLUN(1), NopInterval: 5 * time.Second})
		cfg.Device.Slots = append(cfg.Device.Slots, mpath.SlotConfig{Name: p, Target: os.Args[2]})
	}
	d := &drv{k: stack.New(l.Now(), cfg), l: l, path: os.Args[1]}
	if f := os.Getenv("PROF"); f != "" {
		go func() { time.Sleep(3*time.Second); w, _ := os.Create(f); pprof.StartCPUProfile(w); time.Sleep(6*time.Second); pprof.StopCPUProfile(); w.Close() }()
	}
	if err := l.Run(d); err != nil { panic(err) }
}
