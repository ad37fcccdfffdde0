package logwrites

import (
	"errors"
	"fmt"
	"io"
)

// Points says at which entries of a log to stop.
type Points struct {
	After string // begin only behind this mark; "" is the log's beginning
	At    uint64 // stop after entries with any of these flags; 0 is every entry
	Most  int    // stop at this many points at most, spread evenly; 0 is all
}

// A Point is a place in the log where a power failure is presumed.
type Point struct {
	Entry Entry  // the last one that happened
	Mark  string // the last mark before it
}

// ErrNoEnd says that the log does not end with EndMark: it is not all there is.
var ErrNoEnd = errors.New("the log was cut short: it has no end mark")

// choose finds the entries to stop at, in order.
func (p Points) choose(l *Log) ([]uint64, error) {
	var all []uint64
	begun, ended := p.After == "", false
	for {
		e, err := l.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		ended = e.Has(Mark) && e.Mark == EndMark
		if begun && !e.Has(Mark) && (p.At == 0 || e.Has(p.At)) {
			all = append(all, e.Index)
		}
		begun = begun || e.Has(Mark) && e.Mark == p.After
	}
	switch {
	case !ended:
		return nil, ErrNoEnd
	case !begun:
		return nil, fmt.Errorf("the log has no mark %q", p.After)
	case len(all) == 0:
		return nil, errors.New("the log has no such point")
	}
	return spread(all, p.Most), nil
}

// spread picks at most n of them, evenly, the first and the last among them.
func spread(all []uint64, n int) []uint64 {
	if n <= 0 || len(all) <= n {
		return all
	}
	if n == 1 {
		return all[len(all)-1:]
	}
	some := make([]uint64, n)
	for i := range some {
		some[i] = all[i*(len(all)-1)/(n-1)]
	}
	return some
}

// Walk replays a log onto an empty image, and calls at for each of the points, with
// the image as it was there. It ends with the first error, and says how many points
// there were.
func Walk(r io.ReaderAt, image *Image, points Points, at func(Point) error) (int, error) {
	l, err := Open(r)
	if err != nil {
		return 0, err
	}
	stops, err := points.choose(l)
	if err != nil {
		return 0, err
	}
	if l, err = Open(r); err != nil {
		return 0, err
	}
	mark, done := "", 0
	for done < len(stops) {
		e, err := l.Next()
		if err != nil {
			return done, err
		}
		if e.Has(Mark) {
			mark = e.Mark
		}
		if err := image.Apply(l, e); err != nil {
			return done, err
		}
		if e.Index != stops[done] {
			continue
		}
		done++
		if err := at(Point{e, mark}); err != nil {
			return done, fmt.Errorf("at entry %v, after mark %q: %w", e, mark, err)
		}
	}
	return done, nil
}
