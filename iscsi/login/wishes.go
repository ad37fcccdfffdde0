package login

// Wishes are what a side would like the operational keys to be: an initiator offers them,
// a target grants no more than them (RFC 7143 section 13).
type Wishes struct {
	HeaderDigest, DataDigest DigestChoice

	MaxConnections                       int
	MaxRecvDataSegmentLength             int // bytes
	MaxBurstLength, FirstBurstLength     int // bytes
	DefaultTime2Wait, DefaultTime2Retain int // seconds
	MaxOutstandingR2T                    int
	ErrorRecoveryLevel                   int

	InitialR2T, ImmediateData           bool
	DataPDUInOrder, DataSequenceInOrder bool
}

// number is the wanted value of a numeric or boolean key; ok is false for keys
// of other kinds.
func (w *Wishes) number(id keyID) (n int, ok bool) {
	switch id {
	case kMaxConnections:
		return w.MaxConnections, true
	case kInitialR2T:
		return btoi(w.InitialR2T), true
	case kImmediateData:
		return btoi(w.ImmediateData), true
	case kMaxRecvDataSegmentLength:
		return w.MaxRecvDataSegmentLength, true
	case kMaxBurstLength:
		return w.MaxBurstLength, true
	case kFirstBurstLength:
		return w.FirstBurstLength, true
	case kDefaultTime2Wait:
		return w.DefaultTime2Wait, true
	case kDefaultTime2Retain:
		return w.DefaultTime2Retain, true
	case kMaxOutstandingR2T:
		return w.MaxOutstandingR2T, true
	case kDataPDUInOrder:
		return btoi(w.DataPDUInOrder), true
	case kDataSequenceInOrder:
		return btoi(w.DataSequenceInOrder), true
	case kErrorRecoveryLevel:
		return w.ErrorRecoveryLevel, true
	case kProtocolLevel:
		return 1, true
	}
	return 0, false
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}
