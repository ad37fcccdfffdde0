package login

// A textIn puts together a text that comes in several PDUs.
type textIn struct {
	buf  []byte
	more bool // the last PDU said that the text goes on
}

// add takes the data of one PDU. The text is whole when ok; it is valid until
// the next add.
func (t *textIn) add(data []byte, more bool) (text []byte, ok bool, err error) {
	if !t.more {
		t.buf = t.buf[:0]
	}
	if len(t.buf)+len(data) > maxText {
		return nil, false, &ProtocolError{"the peer's text is longer than 64 KiB"}
	}
	if more && len(data) == 0 {
		return nil, false, &ProtocolError{"the peer says that an empty text goes on"}
	}
	t.buf = append(t.buf, data...)
	t.more = more
	return t.buf, !more, nil
}

// A textOut cuts a text into what fits into one PDU.
type textOut struct {
	limit int // bytes for one PDU
	rest  []byte
}

// next gives the data of the next PDU, and whether the text goes on after it.
func (t *textOut) next() (data []byte, more bool) {
	if len(t.rest) <= t.limit {
		data, t.rest = t.rest, nil
		return data, false
	}
	data, t.rest = t.rest[:t.limit], t.rest[t.limit:]
	return data, true
}
