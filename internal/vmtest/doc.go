// Package vmtest tests the whole of braid on a real kernel, with the Linux
// iSCSI target, in a guest that scripts/vm starts. The tests have the build tag
// guest and find the program to test at /in/braid.
package vmtest
