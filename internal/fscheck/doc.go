// Package fscheck checks that a mounted file system, and the block device below
// it, keep what is put into them.
//
// Run does random operations on a few files, one after the other on each and all
// files at once: overlapping writes through the page cache, direct and through
// memory maps, truncation, allocation, holes, renames, fsync. A model in memory
// says what every byte must be, and everything that is read is compared with it;
// now and then the page cache is dropped, so that the bytes come from the device.
// The model is kept in a state file on another file system, for Verify after the
// file system was mounted again, and for another Run that goes on.
//
// Record and Recall are for power failures: Record makes one record after the
// other durable, each in one of the ways that programs do that, and tells when
// each is; Recall checks that all records up to one of them are there.
//
// The operations on a file depend on the seed only, not on time.
package fscheck
