package main

import (
	"fmt"
	"io"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
)

const (
	logRing     = 1024             // lines between the loop and the writer; more are dropped
	repeatFirst = 10 * time.Second // how long repeats are held back at first
	repeatMost  = 10 * time.Minute // and at most, doubling while they go on
	repeatKinds = 256              // different lines that are watched for repeats
	closeMost   = time.Second      // that the last lines may take
)

// A Log takes lines from any goroutine and never makes one wait: the lines go
// through a bounded ring to a goroutine that writes them. What does not fit is
// dropped and counted. Lines that say the same are written once and then
// summed up.
type Log struct {
	level slog.Level
	lines chan logLine
	drops atomic.Int64  // lines dropped and not yet told of
	quit  chan struct{} // closed by Close
	gone  chan struct{}
}

// A logLine is a line with its values fixed: nothing in it changes any more.
type logLine struct {
	at     time.Time
	level  slog.Level
	msg    string
	fields []logField
}

type logField struct {
	key   string
	value any // a string, a number, a bool or a time.Duration
}

// NewLog starts a log that writes to w until Close.
func NewLog(w io.Writer, level LogLevel, format LogFormat) *Log {
	l := &Log{
		level: logLevels[level],
		lines: make(chan logLine, logRing),
		quit:  make(chan struct{}),
		gone:  make(chan struct{}),
	}
	if format == "console" {
		w = zerolog.ConsoleWriter{Out: w, TimeFormat: "15:04:05.000", NoColor: !isTerminal(w)}
	}
	go l.write(zerolog.New(w))
	return l
}

var logLevels = map[LogLevel]slog.Level{
	"debug": slog.LevelDebug, "info": slog.LevelInfo,
	"warn": slog.LevelWarn, "error": slog.LevelError,
}

// Log takes one line. args are keys and values in turn, as in log/slog.
func (l *Log) Log(level slog.Level, msg string, args ...any) {
	if level < l.level {
		return
	}
	line := logLine{at: time.Now(), level: level, msg: msg}
	for i := 0; i+1 < len(args); i += 2 {
		line.fields = append(line.fields, logField{fmt.Sprint(args[i]), fixed(args[i+1])})
	}
	select {
	case l.lines <- line:
	default:
		l.drops.Add(1)
	}
}

// Close writes what was taken and ends the writer, unless nobody reads any more what it
// writes. A line that comes later, from a goroutine that is ending too, is not written.
func (l *Log) Close() {
	close(l.quit)
	select {
	case <-l.gone:
	case <-time.After(closeMost):
	}
}

// fixed makes a value that another goroutine may read later.
func fixed(v any) any {
	switch v := v.(type) {
	case nil, bool, string, time.Duration, int, int64, uint64, float64:
		return v
	case int8, int16, int32, uint, uint8, uint16, uint32, float32:
		return v
	case error:
		return v.Error()
	}
	return fmt.Sprint(v)
}

// write is the goroutine of the log.
func (l *Log) write(out zerolog.Logger) {
	defer close(l.gone)
	repeats := newRepeats()
	// It wakes for nothing but lines, and for as long as something is held back.
	wake := time.NewTimer(time.Second)
	defer wake.Stop()
	for {
		select {
		case line := <-l.lines:
			if repeats.empty() {
				wake.Reset(time.Second)
			}
			l.emit(out, repeats.add(line))
		case <-l.quit:
			for range len(l.lines) {
				l.emit(out, repeats.add(<-l.lines))
			}
			l.emit(out, repeats.flush(nil))
			l.tellDrops(out, time.Now())
			return
		case now := <-wake.C:
			l.emit(out, repeats.due(now, nil))
			l.tellDrops(out, now)
			if !repeats.empty() {
				wake.Reset(time.Second)
			}
		}
	}
}

func (l *Log) tellDrops(out zerolog.Logger, now time.Time) {
	if n := l.drops.Swap(0); n > 0 {
		l.emit(out, []logLine{{now, slog.LevelWarn, "log lines dropped",
			[]logField{{"count", n}}}})
	}
}

func (l *Log) emit(out zerolog.Logger, lines []logLine) {
	for _, line := range lines {
		e := out.WithLevel(zerologLevel(line.level)).
			Str("time", line.at.Format("2006-01-02T15:04:05.000Z07:00"))
		for _, f := range line.fields {
			if d, ok := f.value.(time.Duration); ok {
				e.Str(f.key, d.String())
				continue
			}
			e.Interface(f.key, f.value)
		}
		e.Msg(line.msg)
	}
}

func zerologLevel(l slog.Level) zerolog.Level {
	switch {
	case l < slog.LevelInfo:
		return zerolog.DebugLevel
	case l < slog.LevelWarn:
		return zerolog.InfoLevel
	case l < slog.LevelError:
		return zerolog.WarnLevel
	}
	return zerolog.ErrorLevel
}
