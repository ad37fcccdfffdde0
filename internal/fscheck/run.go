package fscheck

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	gosync "sync"
	"time"
)

// Config says what Run does.
type Config struct {
	Folder string // on the file system that is checked
	State  string // a file on another one, which keeps the model
	Seed   uint64
	Files  int           // worked on at once; at most 250
	Size   int64         // of a file at most, bytes; a multiple of 4096, at most 64 MiB
	Ops    int           // on each file at most; 0 is no limit
	For    time.Duration // at most; 0 is no limit

	// Cached leaves out direct reads and writes: not all file systems keep them and
	// memory maps of one file in step (OpenZFS 2.1 does not).
	Cached bool
}

const (
	maxFiles = 250
	maxSize  = 64 << 20
)

// A Result is what was done.
type Result struct {
	Operations int
	Bytes      int64 // that were read and compared
	Missing    []string
}

func (r Result) String() string {
	s := fmt.Sprintf("%d operations, %d MiB compared", r.Operations, r.Bytes>>20)
	for _, m := range r.Missing {
		s += "; no " + m
	}
	return s
}

func (c Config) check() error {
	switch {
	case c.Files < 1 || c.Files > maxFiles:
		return fmt.Errorf("%d files: 1 to %d", c.Files, maxFiles)
	case c.Size < unit || c.Size > maxSize || c.Size%unit != 0:
		return fmt.Errorf("size %d: %d to %d, in units of %d", c.Size, unit, maxSize, unit)
	case c.Ops <= 0 && c.For <= 0:
		return errors.New("without a number of operations and a time it would never end")
	}
	return nil
}

// Run does the operations, compares everything at the end, and writes the state. With
// a state that is there it goes on from it. The first thing that is not as it
// should be ends it, with an error that says what, and what led to it.
func Run(c Config) (Result, error) {
	if err := c.check(); err != nil {
		return Result{}, err
	}
	st, err := loadState(c.State)
	switch {
	case errors.Is(err, os.ErrNotExist):
		st = newState(c.Files)
	case err != nil:
		return Result{}, err
	case len(st.files) != c.Files:
		return Result{}, fmt.Errorf("%s is of %d files", c.State, len(st.files))
	}
	workers := make([]*worker, c.Files)
	for i := range workers {
		w := st.worker(i, c.Folder, c.Size)
		w.plan = newPlan(c.Seed, i, st.round, c.Size)
		w.file.undirected = c.Cached
		workers[i] = w
	}
	st.round++
	result, err := atOnce(workers, func(ctx context.Context, w *worker) error {
		return w.run(ctx, c.Ops)
	}, c.For)
	if err != nil {
		return result, err
	}
	if err := syncFolder(c.Folder); err != nil {
		return result, err
	}
	return result, st.save(c.State, workers)
}

// Verify compares all files with the state that Run left.
func Verify(folder, path string) (Result, error) {
	st, err := loadState(path)
	if err != nil {
		return Result{}, err
	}
	workers := make([]*worker, len(st.files))
	for i := range workers {
		workers[i] = st.worker(i, folder, st.largest())
	}
	return atOnce(workers, func(_ context.Context, w *worker) error {
		if err := w.open(); err != nil {
			return err
		}
		defer w.file.close()
		if err := w.verify(); err != nil {
			return fmt.Errorf("%s: %w", w.file.name, err)
		}
		return nil
	}, 0)
}

// open opens the file, which has to be there if it was.
func (w *worker) open() error {
	if w.made {
		if _, err := os.Stat(filepath.Join(w.file.folder, w.file.name)); err != nil {
			return err
		}
	}
	return w.file.open()
}

func (w *worker) run(ctx context.Context, ops int) error {
	if err := w.open(); err != nil {
		return err
	}
	if err := w.verify(); err != nil {
		return fmt.Errorf("%s, before the first operation: %w", w.file.name, err)
	}
	for (ops <= 0 || w.done < ops) && ctx.Err() == nil {
		if err := w.step(); err != nil {
			return err
		}
	}
	if err := w.verify(); err != nil {
		return fmt.Errorf("%s, after all operations: %w\n%s", w.file.name, err, w.history())
	}
	return w.file.close()
}

// atOnce runs all workers; the first error stops the others.
func atOnce(workers []*worker, run func(context.Context, *worker) error,
	limit time.Duration) (Result, error) {
	ctx, cancel := context.WithCancel(context.Background())
	if limit > 0 {
		ctx, cancel = context.WithTimeout(ctx, limit)
	}
	defer cancel()
	all := make([]error, len(workers))
	var group gosync.WaitGroup
	for i, w := range workers {
		group.Go(func() {
			if all[i] = run(ctx, w); all[i] != nil {
				cancel()
			}
		})
	}
	group.Wait()
	var r Result
	seen := [kinds]bool{}
	for _, w := range workers {
		r.Operations += w.done
		r.Bytes += w.bytes
		for k := range kinds {
			if w.plan != nil && w.plan.missing[k] && !seen[k] {
				seen[k] = true
				r.Missing = append(r.Missing, k.String())
			}
		}
	}
	return r, errors.Join(all...)
}
