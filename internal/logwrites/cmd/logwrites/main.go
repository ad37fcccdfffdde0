// Logwrites checks a file system as a power failure could have left it: it
// replays a log of the kernel's log-writes target onto an image, and at every
// flush and every forced write runs a command on a copy of it.
//
//	logwrites -log DEVICE -size BYTES [-after MARK] [-every] [-most N] [-scratch DIR] -- COMMAND
//	logwrites -log DEVICE -list
//
// The command gets the path of the copy as its last argument, which it may change,
// and in its environment POINT, the entry, and MARK, the last mark before it. If it
// fails, the copy is left behind, named after the entry.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"

	"braid/internal/logwrites"
)

type options struct {
	log, after, scratch string
	size                int64
	most                int
	every, list         bool
	command             []string
}

func main() {
	var o options
	flag.StringVar(&o.log, "log", "", "the log device, or a copy of it")
	flag.Int64Var(&o.size, "size", 0, "bytes of the logged device")
	flag.StringVar(&o.after, "after", "", "begin behind this mark")
	flag.BoolVar(&o.every, "every", false, "check at every write, not only at flushes and FUA")
	flag.IntVar(&o.most, "most", 0, "check at this many points at most, evenly spread")
	flag.StringVar(&o.scratch, "scratch", os.TempDir(), "where the image and its copies are made")
	flag.BoolVar(&o.list, "list", false, "print the entries")
	flag.Parse()
	o.command = flag.Args()
	if o.log == "" || !o.list && (o.size <= 0 || len(o.command) == 0) {
		flag.Usage()
		os.Exit(2)
	}
	if err := o.run(); err != nil {
		fmt.Fprintln(os.Stderr, "logwrites:", err)
		os.Exit(1)
	}
}

func (o options) run() error {
	f, err := os.Open(o.log)
	if err != nil {
		return err
	}
	defer f.Close()
	if o.list {
		return list(f)
	}
	path := filepath.Join(o.scratch, "replayed")
	image, err := logwrites.Create(path, o.size)
	if err != nil {
		return err
	}
	defer os.Remove(path)
	defer image.Close()
	points := logwrites.Points{After: o.after, Most: o.most, At: logwrites.Flush | logwrites.FUA}
	if o.every {
		points.At = 0
	}
	n, err := logwrites.Walk(f, image, points, func(p logwrites.Point) error {
		return o.check(image, p)
	})
	if err == nil {
		fmt.Printf("%d points checked\n", n)
	}
	return err
}

func (o options) check(image *logwrites.Image, p logwrites.Point) error {
	path := filepath.Join(o.scratch, fmt.Sprintf("at-%d", p.Entry.Index))
	if err := image.Copy(path); err != nil {
		return err
	}
	arguments := append(append([]string{}, o.command[1:]...), path)
	c := exec.Command(o.command[0], arguments...)
	c.Env = append(os.Environ(), "POINT="+p.Entry.String(), "MARK="+p.Mark)
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", path, err, out)
	}
	return os.Remove(path)
}

func list(f *os.File) error {
	l, err := logwrites.Open(f)
	if err != nil {
		return err
	}
	for {
		e, err := l.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		fmt.Println(e)
	}
}
