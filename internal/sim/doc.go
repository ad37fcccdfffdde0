// Package sim runs the whole product in one goroutine, from one seed: real engines and
// real wire bytes, between a simulated network, clock, memory and disk.
//
// A run is a world: NBD clients that read, write, trim and flush, Linux's own among them; the
// daemon, which may die and come back; targets with one disk and its volatile cache; and the
// network between them. Everything that may happen in more than one way (when a packet
// arrives, how many bytes a read returns, which fault comes next, in the middle of what) is
// drawn from the seed, so that a run can be repeated exactly:
//
//	go run ./internal/sim/cmd/sim -for 1h
//	go run ./internal/sim/cmd/sim -seed 4711 -verbose
//	go test ./internal/sim -run TestMutants -sim.mutants -timeout 2h
//
// A finding is printed with its seed and the shortest history that still ends in it.
//
// # The parts
//
//	agenda.go            what happens next: events in the order of time, ties in the order of entry
//	host.go sock.go      processes and their sockets: what the loop is in the daemon
//	lane.go wire.go      one direction of a connection; a cable that may be cut or go dark
//	memory.go            buffers that are poisoned when they are given back
//	config.go            what one run is, drawn from its seed
//	daemon.go            the product's process: its death, its end in good order, its state file
//	target.go world.go   the targets, and all parts put together
//	client.go codec.go   NBD clients with a codec of their own
//	workload.go          what they ask for
//	faults.go            what goes wrong, when, and in the middle of what
//	strikes.go changes.go  each fault
//	auditor.go block.go  the judge; it knows requests, answers and the disk, and no engine
//	crash.go             what is promised when a cache is lost
//	linear.go model.go   is there one order that explains what was read? (porcupine)
//	tap.go               what the initiator sends, held against the RFC
//	run.go hunt.go       a run from the first login to the last comparison; many of them
//	shrink.go            the shortest history of a finding
//
// # What is not tried
//
// A cache that is lost while its session lives on, over several connections of that session:
// no initiator could notice in time. Volatility per nexus together with asymmetric access,
// where there may be data without copies: nobody could flush it from another port. A LUN that
// shrinks. Fence mode none, which promises nothing.
//
// Package sim may import everything, and nothing imports it but its tests.
package sim
