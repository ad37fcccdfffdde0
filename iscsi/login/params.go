package login

// Params is what a login settled. Keys that were not negotiated have the value
// that RFC 7143 section 13 gives for that case.
type Params struct {
	HeaderDigest, DataDigest bool // CRC32C; none if false

	MaxConnections            int
	InitialR2T, ImmediateData bool

	// MaxRecvDataSegmentLength is what this side declared, in bytes: the
	// longest data segment that it takes. MaxXmitDataSegmentLength is what
	// the peer declared. A side that declared nothing takes 8192.
	MaxRecvDataSegmentLength int
	MaxXmitDataSegmentLength int

	MaxBurstLength, FirstBurstLength     int // bytes
	DefaultTime2Wait, DefaultTime2Retain int // seconds
	MaxOutstandingR2T                    int

	DataPDUInOrder, DataSequenceInOrder bool
	ErrorRecoveryLevel                  int

	// TargetPortalGroupTag is -1 if the target did not send it.
	TargetPortalGroupTag int
	TargetAlias          string

	// TaskReporting is "RFC3720", "ResponseFence" or "FastAbort" (RFC 7143
	// section 13.23), ProtocolLevel the iSCSIProtocolLevel of RFC 7144.
	TaskReporting string
	ProtocolLevel int
}

// DefaultParams is a connection for which nothing was negotiated.
func DefaultParams() Params {
	return Params{
		MaxConnections:           1,
		InitialR2T:               true,
		ImmediateData:            true,
		MaxRecvDataSegmentLength: DefaultDataSegment,
		MaxXmitDataSegmentLength: DefaultDataSegment,
		MaxBurstLength:           262144,
		FirstBurstLength:         65536,
		DefaultTime2Wait:         2,
		DefaultTime2Retain:       20,
		MaxOutstandingR2T:        1,
		DataPDUInOrder:           true,
		DataSequenceInOrder:      true,
		TargetPortalGroupTag:     -1,
		TaskReporting:            "RFC3720",
		ProtocolLevel:            1,
	}
}

// WithSession returns p, which a login on a further connection settled, with
// all that belongs to the session taken from its leading connection. What is
// left of p are digests, segment lengths and the portal group tag.
func (p Params) WithSession(leading Params) Params {
	q := leading
	q.HeaderDigest, q.DataDigest = p.HeaderDigest, p.DataDigest
	q.MaxRecvDataSegmentLength = p.MaxRecvDataSegmentLength
	q.MaxXmitDataSegmentLength = p.MaxXmitDataSegmentLength
	q.TargetPortalGroupTag = p.TargetPortalGroupTag
	return q
}
