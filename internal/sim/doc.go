// Package sim runs the whole product in one goroutine, from one seed: real engines and
// real wire bytes, between a simulated network, clock, memory and disk.
//
// A run is a world: NBD clients that read, write, trim and flush; the stack of one device;
// an embedded target with a volatile cache; and the network between them. Everything that
// may happen in more than one way (when a packet arrives, how many bytes a read returns,
// which fault comes next) is drawn from the seed, so that a run can be repeated exactly:
//
//	go test ./internal/sim -run TestSim -sim.seed=4711 -sim.verbose
//
// # The parts
//
//	agenda.go            what happens next: events in the order of time, ties in the order of entry
//	host.go sock.go      processes and their sockets: what the loop is in the daemon
//	lane.go wire.go      one direction of a connection; a cable that may be cut or go dark
//	memory.go            buffers that are poisoned when they are given back
//	config.go            what one run is, drawn from its seed
//	target.go world.go   the parts put together
//	client.go codec.go   NBD clients with a codec of their own
//	workload.go          what they ask for
//	faults.go            what goes wrong
//	auditor.go block.go  the judge; it knows requests, answers and the disk, and no engine
//	run.go               a run from the first login to the last comparison
//
// Package sim may import everything, and nothing imports it but its tests.
package sim
