package sim

type linear struct{}

func (l *linear) event(uint64)                  {}
func (l *linear) soften(uint32, uint64, uint64) {}
