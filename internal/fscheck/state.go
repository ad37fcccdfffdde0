package fscheck

import (
	"encoding/gob"
	"fmt"
	"os"
)

// A state is the model of all files, kept between runs.
type state struct {
	round int // how often Run was
	files []savedFile
}

type savedFile struct {
	Name string
	Data []byte
}

type savedState struct {
	Round int
	Files []savedFile
}

func newState(files int) *state {
	s := &state{files: make([]savedFile, files)}
	for i := range s.files {
		s.files[i].Name = fmt.Sprintf("file%d", i)
	}
	return s
}

func loadState(path string) (*state, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var saved savedState
	if err := gob.NewDecoder(f).Decode(&saved); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &state{saved.Round, saved.Files}, nil
}

// worker makes the worker of a file, which is as large as size at most.
func (s *state) worker(i int, folder string, size int64) *worker {
	f := s.files[i]
	size = max(size, int64(len(f.Data)))
	return &worker{
		index: i,
		file:  file{folder: folder, name: f.Name},
		made:  s.round > 0,
		model: model{f.Data},
		data:  aligned(size),
		read:  aligned(size + unit),
	}
}

func (s *state) largest() int64 {
	var n int64
	for _, f := range s.files {
		n = max(n, int64(len(f.Data)))
	}
	return n
}

// save writes the state under its name only when it is whole.
func (s *state) save(path string, workers []*worker) error {
	saved := savedState{Round: s.round}
	for _, w := range workers {
		saved.Files = append(saved.Files, savedFile{w.file.name, w.model.data})
	}
	f, err := os.Create(path + ".part")
	if err != nil {
		return err
	}
	defer f.Close()
	if err := gob.NewEncoder(f).Encode(saved); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(path+".part", path)
}
