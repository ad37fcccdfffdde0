package pdu

// Events of an Asynchronous Message (RFC 7143 section 11.9.1).
const (
	AsyncSCSIEvent       uint8 = 0 // sense data is in the data segment
	AsyncLogoutRequest   uint8 = 1 // Param3: seconds in which to log out
	AsyncDropConnection  uint8 = 2 // Param1: CID, Param2: Time2Wait, Param3: Time2Retain
	AsyncDropSession     uint8 = 3 // Param2: Time2Wait, Param3: Time2Retain
	AsyncNegotiate       uint8 = 4 // Param3: seconds in which to send a Text Request
	AsyncTasksTerminated uint8 = 5 // all active tasks of the LUN are ended
	AsyncVendor          uint8 = 255
)

// Async is the Asynchronous Message PDU (RFC 7143 section 11.9).
type Async struct {
	Event      uint8
	VendorCode uint8
	Param1     uint16
	Param2     uint16
	Param3     uint16
	LUN        [8]byte
	StatSN     uint32
	ExpCmdSN   uint32
	MaxCmdSN   uint32
	DataLen    int
}

const (
	atAsyncEvent  = 36
	atAsyncVendor = 37
	atParam1      = 38
	atParam2      = 40
	atParam3      = 42
)

// ParseAsync reads an Asynchronous Message PDU.
func ParseAsync(h *Header) (Async, error) {
	if err := h.expect(OpAsync); err != nil {
		return Async{}, err
	}
	return Async{
		Event:      h[atAsyncEvent],
		VendorCode: h[atAsyncVendor],
		Param1:     h.u16(atParam1),
		Param2:     h.u16(atParam2),
		Param3:     h.u16(atParam3),
		LUN:        h.LUN(),
		StatSN:     h.StatSN(),
		ExpCmdSN:   h.ExpCmdSN(),
		MaxCmdSN:   h.MaxCmdSN(),
		DataLen:    h.DataLen(),
	}, nil
}

// Marshal writes the whole header.
func (a Async) Marshal(h *Header) {
	h.begin(OpAsync, finalFlag, a.DataLen)
	copy(h[atLUN:], a.LUN[:])
	h.putU32(atITT, ReservedTag)
	h.putCounters(a.StatSN, a.ExpCmdSN, a.MaxCmdSN)
	h[atAsyncEvent] = a.Event
	h[atAsyncVendor] = a.VendorCode
	h.putU16(atParam1, a.Param1)
	h.putU16(atParam2, a.Param2)
	h.putU16(atParam3, a.Param3)
}
