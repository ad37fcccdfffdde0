// Package logwrites reads the log that the Linux kernel's device-mapper target
// log-writes makes of the writes to a device, and replays it up to any point
// (admin guide, device-mapper/log-writes).
//
// The log says what is on the medium, not what was asked for when: a write is in
// it when it is known not to sit in a cache any more, that is, ahead of the first
// flush that was sent after the write was answered, or at once when it was
// forced (FUA). So every prefix of the log is a disk as a power failure could
// have left it, and the prefix that ends with a flush is the worst of them: it
// lacks every write that the flush did not have to cover. A flush that is sent
// before the writes it stands for have been answered shows as a prefix without
// them.
//
//   - Log reads the entries one by one.
//   - Image replays them onto a sparse file and makes copies of it.
//   - Walk stops at chosen points, for a check of each.
package logwrites
