package iscsi

// Counters are what error recovery had to do, since they were made. Several
// sessions one after the other may share them (Config.Counters).
type Counters struct {
	DigestErrors uint64 // PDUs dropped for a wrong data digest

	DataSNACKs, R2TSNACKs, StatusSNACKs uint64 // requests for PDUs that were lost
	DataACKs                            uint64 // acknowledgements that the target asked for

	Retries     uint64 // commands sent again that the target had not received
	Reassigned  uint64 // tasks moved to another connection
	Connections uint64 // lost connections whose tasks all went on
	Fallbacks   uint64 // recoveries that failed, so that the next lower level had to do
}

// Counters tells what error recovery had to do.
func (s *Session) Counters() Counters { return *s.counters }
