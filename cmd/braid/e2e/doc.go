// Package e2e holds tests of the braid command as a person runs it: the built
// binary as a child process, real targets on loopback addresses, and other
// people's NBD and iSCSI clients. They run with the build tag e2e:
//
//	go test -tags e2e ./cmd/braid/e2e/
//
// A test that misses a tool is skipped and says so. BRAID may name a binary to
// test in place of a fresh build.
package e2e
