package pdu

// Task management functions (RFC 7143 section 11.5.1).
const (
	AbortTask       uint8 = 1
	AbortTaskSet    uint8 = 2
	ClearACA        uint8 = 3
	ClearTaskSet    uint8 = 4
	LUNReset        uint8 = 5
	TargetWarmReset uint8 = 6
	TargetColdReset uint8 = 7
	TaskReassign    uint8 = 8
)

// Responses to a task management function (RFC 7143 section 11.6.1).
const (
	TaskFunctionComplete     uint8 = 0
	TaskDoesNotExist         uint8 = 1
	TaskLUNDoesNotExist      uint8 = 2
	TaskStillAllegiant       uint8 = 3
	TaskReassignNotSupported uint8 = 4
	TaskFunctionNotSupported uint8 = 5
	TaskAuthorizationFailed  uint8 = 6
	TaskFunctionRejected     uint8 = 255
)

// TaskRequest is the Task Management Function Request PDU (RFC 7143 section
// 11.5). Functions that are not known are not refused by Parse: they have a
// response of their own.
type TaskRequest struct {
	Immediate bool
	Function  uint8
	LUN       [8]byte
	ITT       uint32
	RefTag    uint32 // the task meant by AbortTask and TaskReassign, else ReservedTag
	CmdSN     uint32
	ExpStatSN uint32
	RefCmdSN  uint32 // CmdSN of the task meant by AbortTask
	ExpDataSN uint32 // for TaskReassign: the next Data-In or R2T expected
}

const (
	atRefTag   = 20
	atRefCmdSN = 32
)

// ParseTaskRequest reads a Task Management Function Request PDU.
func ParseTaskRequest(h *Header) (TaskRequest, error) {
	if err := h.expectBare(OpTaskRequest); err != nil {
		return TaskRequest{}, err
	}
	t := TaskRequest{
		Immediate: h.Immediate(),
		Function:  h[1] &^ finalFlag,
		LUN:       h.LUN(),
		ITT:       h.ITT(),
		RefTag:    h.u32(atRefTag),
		CmdSN:     h.CmdSN(),
		ExpStatSN: h.ExpStatSN(),
		RefCmdSN:  h.u32(atRefCmdSN),
		ExpDataSN: h.u32(atDataSN),
	}
	if t.ITT == ReservedTag {
		return t, invalid(h, RejectInvalidField, "reserved task tag")
	}
	return t, nil
}

// Marshal writes the whole header.
func (t TaskRequest) Marshal(h *Header) {
	h.begin(OpTaskRequest, finalFlag|t.Function&^finalFlag, 0)
	h.setImmediate(t.Immediate)
	copy(h[atLUN:], t.LUN[:])
	h.putU32(atITT, t.ITT)
	h.putU32(atRefTag, t.RefTag)
	h.putU32(atCmdSN, t.CmdSN)
	h.putU32(atExpStatSN, t.ExpStatSN)
	h.putU32(atRefCmdSN, t.RefCmdSN)
	h.putU32(atDataSN, t.ExpDataSN)
}

// TaskResponse is the Task Management Function Response PDU (RFC 7143 section
// 11.6).
type TaskResponse struct {
	Response uint8
	ITT      uint32
	StatSN   uint32
	ExpCmdSN uint32
	MaxCmdSN uint32
}

// ParseTaskResponse reads a Task Management Function Response PDU.
func ParseTaskResponse(h *Header) (TaskResponse, error) {
	if err := h.expectBare(OpTaskResponse); err != nil {
		return TaskResponse{}, err
	}
	return TaskResponse{
		Response: h[2],
		ITT:      h.ITT(),
		StatSN:   h.StatSN(),
		ExpCmdSN: h.ExpCmdSN(),
		MaxCmdSN: h.MaxCmdSN(),
	}, nil
}

// Marshal writes the whole header.
func (t TaskResponse) Marshal(h *Header) {
	h.begin(OpTaskResponse, finalFlag, 0)
	h[2] = t.Response
	h.putU32(atITT, t.ITT)
	h.putCounters(t.StatSN, t.ExpCmdSN, t.MaxCmdSN)
}
