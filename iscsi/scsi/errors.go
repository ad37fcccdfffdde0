package scsi

import "fmt"

// A FormatError says that bytes are not the parameter data they should be.
type FormatError struct {
	What   string // whose data, "READ CAPACITY(16) data"
	Reason string
}

func (e *FormatError) Error() string { return e.What + ": " + e.Reason }

func tooShort(what string, have, need int) error {
	return &FormatError{what, fmt.Sprintf("%d bytes, at least %d are needed", have, need)}
}
