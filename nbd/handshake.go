package nbd

import (
	"encoding/binary"
	"log/slog"
	"time"

	"github.com/pojntfx/go-nbd/pkg/protocol"
)

// appendGreeting appends what the server says first (proto.md, "Newstyle
// negotiation").
func appendGreeting(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint64(dst, protocol.NEGOTIATION_MAGIC_OLDSTYLE)
	dst = binary.BigEndian.AppendUint64(dst, protocol.NEGOTIATION_MAGIC_OPTION)
	return binary.BigEndian.AppendUint16(dst,
		protocol.NEGOTIATION_HANDSHAKE_FLAG_FIXED_NEWSTYLE|handshakeFlagNoZeroes)
}

// parseClientFlags takes the client's flags. Unknown ones end the connection,
// as proto.md, "Client flags", demands. A client that does not claim to know
// fixed newstyle may use it all the same.
func (c *Conn) parseClientFlags() bool {
	if c.end-c.pos < sizeClientFlags {
		return false
	}
	flags := binary.BigEndian.Uint32(c.staging[c.pos:])
	c.pos += sizeClientFlags
	if flags&^(clientFlagFixedNewstyle|clientFlagNoZeroes) != 0 {
		c.violate("unknown client flags")
		return false
	}
	c.noZeroes = flags&clientFlagNoZeroes != 0
	c.phase = phaseOption
	return true
}

// handshakeBlocked reports whether a client sends options without reading the
// answers.
func (c *Conn) handshakeBlocked() bool { return len(c.out)-c.outPos > maxHandshakeOutput }

// parseOption takes one option, when it is whole.
func (c *Conn) parseOption(now time.Duration) bool {
	staged := c.staging[c.pos:c.end]
	if len(staged) < sizeOptionHeader || c.handshakeBlocked() {
		return false
	}
	h := parseOptionHeader(staged)
	switch {
	case h.OptionMagic != protocol.NEGOTIATION_MAGIC_OPTION:
		c.violate("wrong magic of an option")
		return false
	case h.Length > maxOptionDrain:
		c.violate("absurd length of an option")
		return false
	case h.Length > maxOption:
		c.pos += sizeOptionHeader
		c.optionID, c.optionLeft = h.ID, h.Length
		c.phase = phaseOptionData
		return true
	case len(staged)-sizeOptionHeader < int(h.Length):
		return false
	}
	c.pos += sizeOptionHeader + int(h.Length)
	if c.countOption() {
		c.option(now, h.ID, staged[sizeOptionHeader:][:h.Length])
	}
	return true
}

// skipOption throws away the data of an option that is too long.
func (c *Conn) skipOption(now time.Duration) bool {
	n := min(uint32(c.end-c.pos), c.optionLeft)
	c.pos += int(n)
	c.optionLeft -= n
	if c.optionLeft > 0 {
		return false
	}
	c.phase = phaseOption
	if c.countOption() {
		if c.optionID == optionExportName {
			c.hangUp(ErrUnknownExport)
			return false
		}
		c.answer(now, c.optionID, replyErrTooBig, "option data is too long")
	}
	return true
}

// countOption bounds the handshake.
func (c *Conn) countOption() bool {
	if c.options++; c.options > maxOptions {
		c.violate("too many options")
		return false
	}
	return true
}

// option acts on one option (proto.md, "Option types").
func (c *Conn) option(now time.Duration, id uint32, data []byte) {
	switch {
	case id == protocol.NEGOTIATION_ID_OPTION_ABORT:
		c.answer(now, id, protocol.NEGOTIATION_TYPE_REPLY_ACK, "")
		c.phase = phaseLeaving
	case id == optionExportName:
		c.exportName(now, string(data))
	case c.server.stopping:
		c.answer(now, id, replyErrShutdown, "server is stopping")
	case id == protocol.NEGOTIATION_ID_OPTION_GO, id == protocol.NEGOTIATION_ID_OPTION_INFO:
		c.goOrInfo(now, id, data)
	case id == protocol.NEGOTIATION_ID_OPTION_LIST:
		c.list(now, id, data)
	case id == optionStructuredReply:
		if len(data) != 0 {
			c.answer(now, id, replyErrInvalid, "option takes no data")
			return
		}
		c.structured = true
		c.answer(now, id, protocol.NEGOTIATION_TYPE_REPLY_ACK, "")
	default:
		c.answer(now, id, protocol.NEGOTIATION_TYPE_REPLY_ERR_UNSUPPORTED, "unknown option")
	}
}

// answer queues a reply to an option.
func (c *Conn) answer(now time.Duration, id, kind uint32, text string) {
	c.say(now, appendOptionReply(c.out, id, kind, []byte(text)...))
}

// say makes out, which is what was to be sent before and more, the output.
func (c *Conn) say(now time.Duration, out []byte) {
	if !c.HasOutput() {
		c.waitingSince = now
	}
	c.out = out
}

// list names the one export.
func (c *Conn) list(now time.Duration, id uint32, data []byte) {
	if len(data) != 0 {
		c.answer(now, id, replyErrInvalid, "option takes no data")
		return
	}
	cfg := &c.server.cfg
	entry := binary.BigEndian.AppendUint32(nil, uint32(len(cfg.Name)))
	entry = append(entry, cfg.Name...)
	entry = append(entry, cfg.Description...)
	c.say(now, appendOptionReply(c.out, id, protocol.NEGOTIATION_TYPE_REPLY_SERVER, entry...))
	c.answer(now, id, protocol.NEGOTIATION_TYPE_REPLY_ACK, "")
}

// serves reports whether name is that of the export.
func (s *Server) serves(name string) bool { return name == "" || name == s.cfg.Name }

// exportName is the option that cannot fail but by the end of the connection.
func (c *Conn) exportName(now time.Duration, name string) {
	switch {
	case c.server.stopping:
		c.hangUp(ErrStopping)
		return
	case !c.server.serves(name):
		c.hangUp(ErrUnknownExport)
		return
	}
	c.describeFlags()
	out := binary.BigEndian.AppendUint64(c.out, c.server.info.Size)
	out = binary.BigEndian.AppendUint16(out, c.flags)
	if !c.noZeroes {
		out = append(out, make([]byte, exportNameZeroes)...)
	}
	c.say(now, out)
	c.beginTransmission()
}

// goOrInfo describes the export, and after GO transmission begins.
func (c *Conn) goOrInfo(now time.Duration, id uint32, data []byte) {
	name, wants, ok := parseGo(data)
	switch {
	case !ok:
		c.answer(now, id, replyErrInvalid, "malformed option data")
		return
	case !c.server.serves(name):
		c.answer(now, id, protocol.NEGOTIATION_TYPE_REPLY_ERR_UNKNOWN, "no such export")
		return
	}
	s := c.server
	c.describeFlags()
	out := appendInfoExport(c.out, id, s.info.Size, c.flags)
	out = appendInfoBlockSize(out, id, s.sizes)
	if wants.name {
		out = appendInfoText(out, id, protocol.NEGOTIATION_TYPE_INFO_NAME, s.cfg.Name)
	}
	if wants.description && s.cfg.Description != "" {
		out = appendInfoText(out, id, protocol.NEGOTIATION_TYPE_INFO_DESCRIPTION, s.cfg.Description)
	}
	c.say(now, appendOptionReply(out, id, protocol.NEGOTIATION_TYPE_REPLY_ACK))
	if id == protocol.NEGOTIATION_ID_OPTION_GO {
		c.beginTransmission()
	}
}

// describeFlags fixes the transmission flags that the client is told.
func (c *Conn) describeFlags() {
	c.flags = c.server.info.TransmissionFlags()
	if c.structured {
		c.flags |= flagSendDF
	}
}

func (c *Conn) beginTransmission() {
	c.phase = phaseTransmission
	cfg := &c.server.cfg
	cfg.Log(slog.LevelInfo, "nbd: client ready", "name", cfg.Name, "client", c.id,
		"structured", c.structured, "kernel", c.kernel)
}
