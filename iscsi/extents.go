package iscsi

// An extent is the bytes from..to of a command's data.
type extent struct{ from, to int }

// extents are the parts of a command's data that were moved, sorted and joined
// where they touch. They are kept only where the negotiated order lets the target
// choose offsets (DataPDUInOrder=No or DataSequenceInOrder=No).
type extents []extent

// maxExtents bounds the holes that a target may leave in one command's data.
const maxExtents = 1024

// add notes from..to as moved. It is false if any of it was moved before, or if
// the target leaves too many holes.
func (e *extents) add(from, to int) bool {
	if from == to {
		return true
	}
	s := *e
	i := len(s)
	for i > 0 && s[i-1].from >= to {
		i--
	}
	// s[i-1] is the last extent that begins before to.
	if i > 0 && s[i-1].to > from {
		return false
	}
	joinsLeft := i > 0 && s[i-1].to == from
	joinsRight := i < len(s) && s[i].from == to
	switch {
	case joinsLeft && joinsRight:
		s[i-1].to = s[i].to
		*e = append(s[:i], s[i+1:]...)
	case joinsLeft:
		s[i-1].to = to
	case joinsRight:
		s[i].from = from
	case len(s) == maxExtents:
		return false
	default:
		s = append(s, extent{})
		copy(s[i+1:], s[i:])
		s[i] = extent{from, to}
		*e = s
	}
	return true
}
