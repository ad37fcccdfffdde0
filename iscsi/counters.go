package iscsi

// Counters are what error recovery had to do, since they were made. Several
// sessions one after the other may share them (Config.Counters).
type Counters struct {
	DigestErrors uint64 `json:"digest_errors"` // PDUs dropped for a wrong data digest

	// Requests for PDUs that were lost, and acknowledgements of data that the
	// target asked for.
	DataSNACKs   uint64 `json:"data_snacks"`
	R2TSNACKs    uint64 `json:"r2t_snacks"`
	StatusSNACKs uint64 `json:"status_snacks"`
	DataACKs     uint64 `json:"data_acks"`

	Retries     uint64 `json:"retried_commands"`      // sent again; the target had not received them
	Reassigned  uint64 `json:"reassigned_tasks"`      // moved to another connection
	Connections uint64 `json:"recovered_connections"` // lost, and all their tasks went on
	Fallbacks   uint64 `json:"fallbacks"`             // failed: the session ended
}

// Counters tells what error recovery had to do.
func (s *Session) Counters() Counters { return *s.counters }
