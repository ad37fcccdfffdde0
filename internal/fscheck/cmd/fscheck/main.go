// Fscheck checks a mounted file system with random operations.
//
//	fscheck run    -dir FOLDER -state FILE [-seed N] [-files N] [-size BYTES] [-ops N] [-for TIME]
//	               [-cached]
//	fscheck verify -dir FOLDER -state FILE
//	fscheck record -dir FOLDER -last N [-first N] [-seed N] [-for TIME] [-- COMMAND...]
//	fscheck recall -dir FOLDER -last N [-first N] [-seed N]
//
// Run and verify work on files with a model of their content, which is kept in the
// state file, on another file system. Record makes records durable one after the
// other, calls the command with the number of each, and ends early after the time;
// recall checks that those records are there. The exit status is 1 where the file
// system is not right, 2 for bad usage.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"time"

	"braid/internal/fscheck"
)

type options struct {
	config      fscheck.Config
	first, last int
	command     []string
}

var errOver = errors.New("the time is over")

func main() {
	verbs := map[string]func(options) error{
		"run": run, "verify": verify, "record": record, "recall": recall}
	if len(os.Args) < 2 || verbs[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: fscheck run|verify|record|recall -dir FOLDER ...")
		os.Exit(2)
	}
	o, flags := options{}, flag.NewFlagSet(os.Args[1], flag.ExitOnError)
	flags.StringVar(&o.config.Folder, "dir", ".", "where to work")
	flags.StringVar(&o.config.State, "state", "", "the file that keeps the model")
	flags.Uint64Var(&o.config.Seed, "seed", 1, "what the random operations follow from")
	flags.IntVar(&o.config.Files, "files", 4, "files that are worked on at once")
	flags.Int64Var(&o.config.Size, "size", 4<<20, "bytes of a file at most")
	flags.IntVar(&o.config.Ops, "ops", 0, "operations on each file")
	flags.DurationVar(&o.config.For, "for", 0, "the time it takes at most")
	flags.BoolVar(&o.config.Cached, "cached", false, "no direct reads and writes")
	flags.IntVar(&o.first, "first", 1, "the first record")
	flags.IntVar(&o.last, "last", 0, "the last record")
	_ = flags.Parse(os.Args[2:]) // ends the program at an error
	o.command = flags.Args()
	if err := verbs[os.Args[1]](o); err != nil {
		fmt.Fprintln(os.Stderr, "fscheck:", err)
		os.Exit(1)
	}
}

func run(o options) error {
	r, err := fscheck.Run(o.config)
	fmt.Println(r)
	return err
}

func verify(o options) error {
	r, err := fscheck.Verify(o.config.Folder, o.config.State)
	fmt.Println(r)
	return err
}

func record(o options) error {
	began, done := time.Now(), o.first-1
	err := fscheck.Record(o.config.Folder, o.config.Seed, o.first, o.last, func(n int) error {
		done = n
		if len(o.command) > 0 {
			c := exec.Command(o.command[0], append(o.command[1:], strconv.Itoa(n))...)
			c.Stderr = os.Stderr
			if err := c.Run(); err != nil {
				return err
			}
		}
		if o.config.For > 0 && time.Since(began) > o.config.For {
			return errOver
		}
		return nil
	})
	fmt.Println(done)
	if err == errOver {
		return nil
	}
	return err
}

func recall(o options) error {
	return fscheck.Recall(o.config.Folder, o.config.Seed, o.first, o.last)
}
