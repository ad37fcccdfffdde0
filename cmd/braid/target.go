package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"braid/internal/loop"
	"braid/iscsi/login"
	"braid/iscsi/scsi"
	"braid/iscsi/target"
)

// targetSettings are the flags of `braid target`.
type targetSettings struct {
	name, alias    string
	portals, luns  []string
	faults         string
	blockSize      Size
	cache          string
	alua           string
	transition     uint8
	thin, readOnly bool
	rotational     bool
	maxConnections int
	initialR2T     bool
	noImmediate    bool
	nopInterval    Duration
	level          int
	flags          *Flags
}

// targetTime2Retain is for how many seconds the tasks of a lost connection are
// kept; only error recovery level 2 has a use for it.
const targetTime2Retain = 20

// targetFlags are the settings that `braid target` shares with `braid up`.
var targetFlags = []string{"header_digest", "data_digest", "chap_user", "chap_secret_file",
	"mutual_chap_user", "mutual_chap_secret_file", "log_level", "log_format"}

func newTarget() *cobra.Command {
	s := &targetSettings{blockSize: 512}
	cmd := &cobra.Command{
		Use:   "target",
		Short: "Run the embedded iSCSI target, for tests and demonstrations",
		Long: "Run the embedded iSCSI target: RAM or files behind one or several portals, with\n" +
			"several sessions, MC/S, digests, CHAP, error recovery up to level 2 and scripted\n" +
			"faults. On readiness it prints\n" +
			"`ready TARGET PORTAL...`. With --faults - it takes faults from standard input, one a\n" +
			"line, answers each with `ok` or `error ...`, and ends with its input.",
		Args: argCount(0, 0, "no arguments"),
	}
	f := cmd.Flags()
	f.StringVar(&s.name, "name", ownNames+"target", "the target's iSCSI name")
	f.StringVar(&s.alias, "alias", "", "a name for people")
	f.StringArrayVar(&s.portals, "portal", []string{"127.0.0.1:3260"},
		"HOST:PORT[,GROUP] to listen at; repeatable")
	f.StringArrayVar(&s.luns, "lun", []string{"1=ram:1GiB"},
		"N=ram:SIZE or N=file:PATH[,SIZE]; repeatable")
	f.Var(&textFlag{&s.blockSize, "SIZE"}, "block-size", "512 to 4096")
	f.StringVar(&s.cache, "write-cache", "lun",
		"none, lun (a flush covers the LUN), nexus (only its own session's writes), or claimed\n"+
			"(it says that there is one, and keeps nothing in it)")
	f.StringVar(&s.alua, "alua", "none",
		"none, implicit, explicit or both: each portal group has an access state of its own")
	f.Uint8Var(&s.transition, "transition-time", 0, "seconds that a transition is said to take")
	f.BoolVar(&s.thin, "thin", false, "offer UNMAP")
	f.BoolVar(&s.readOnly, "read-only", false, "write protect")
	f.BoolVar(&s.rotational, "rotational", false, "say that it rotates")
	f.IntVar(&s.maxConnections, "max-connections", 8, "connections of one session")
	f.BoolVar(&s.initialR2T, "initial-r2t", false, "take no unsolicited data")
	f.BoolVar(&s.noImmediate, "no-immediate-data", false, "take no immediate data")
	f.Var(&textFlag{&s.nopInterval, "DURATION"}, "nop-interval",
		"silence before the target probes a connection; 0: never")
	f.IntVar(&s.level, "error-recovery-level", 2, "the highest that is granted")
	f.StringVar(&s.faults, "faults", "", "script of faults, or - for standard input")
	s.flags = NewFlags(f, targetFlags...)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return explain(s.run(cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr()))
	}
	return cmd
}

// run serves until a signal, or the end of the input that faults come from.
func (s *targetSettings) run(stdin io.Reader, stdout, stderr io.Writer) error {
	c := Defaults()
	if err := s.flags.Apply(&c); err != nil {
		return err
	}
	if err := c.checkFlags(targetFlags); err != nil {
		return err
	}
	script, err := s.script()
	if err != nil {
		return err
	}
	l, err := loop.New(loop.Config{})
	if err != nil {
		return err
	}
	cfg, err := s.config(&c, l)
	if err != nil {
		return err
	}
	log := NewLog(stderr, c.LogLevel, c.LogFormat)
	defer log.Close()
	cfg.Log = log.Log
	server := &targetServer{loop: l}
	for i, p := range cfg.Portals {
		listener, err := l.Listen("tcp", p.Address, server.acceptor(i))
		if errors.Is(err, syscall.EADDRINUSE) {
			return fmt.Errorf("portal %s is in use by another process: name another port", p.Address)
		}
		if err != nil {
			return fmt.Errorf("portal %s: %w", p.Address, err)
		}
		cfg.Portals[i].Address = listener.Address()
	}
	if server.target, err = target.New(l.Now(), cfg); err != nil {
		return usagef("%w", err)
	}
	if script != nil {
		server.target.Play(l.Now(), script)
	}
	words := []string{"ready", cfg.Name}
	for _, p := range cfg.Portals {
		words = append(words, p.Address)
	}
	if _, err := fmt.Fprintln(stdout, strings.Join(words, " ")); err != nil {
		return err
	}
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	defer signal.Stop(signals)
	go func() { <-signals; l.Stop() }()
	if s.faults == "-" {
		go server.takeFaults(stdin, stdout)
	}
	notify(log.Log, "READY=1")
	return l.Run(server)
}

func (s *targetSettings) script() (*target.Script, error) {
	if s.faults == "" || s.faults == "-" {
		return nil, nil
	}
	text, err := readBounded(s.faults, maxConfigSize)
	if err != nil {
		return nil, usagef("--faults: %w", err)
	}
	script, err := target.ParseScript(string(text))
	if err != nil {
		return nil, usagef("--faults %s: %w", s.faults, err)
	}
	return script, nil
}

// config makes the target's configuration, with opened stores.
func (s *targetSettings) config(c *Config, l *loop.Loop) (target.Config, error) {
	cfg := target.Config{
		Name: s.name, Alias: s.alias,
		HeaderDigest: digestChoice(c.HeaderDigest), DataDigest: digestChoice(c.DataDigest),
		MaxConnections: s.maxConnections, InitialR2T: s.initialR2T, NoImmediateData: s.noImmediate,
		NopInterval: time.Duration(s.nopInterval), CHAPRand: rand.Reader,
		ErrorRecoveryLevel: s.level, DefaultTime2Retain: targetTime2Retain,
	}
	if err := login.ValidName(s.name); err != nil {
		return cfg, usagef("--name: %w", err)
	}
	if s.level < 0 || s.level > 2 {
		return cfg, usagef("--error-recovery-level: %d is none of 0, 1, 2", s.level)
	}
	if err := choose(&s.cache, []byte(s.cache), "none", "lun", "nexus", "claimed"); err != nil {
		return cfg, usagef("--write-cache: %w", err)
	}
	if err := choose(&s.alua, []byte(s.alua), "none", "implicit", "explicit", "both"); err != nil {
		return cfg, usagef("--alua: %w", err)
	}
	cfg.ALUA, cfg.TransitionTime = s.alua != "none", s.transition
	cfg.TPGS = map[string]uint8{"implicit": scsi.TPGSImplicit, "explicit": scsi.TPGSExplicit,
		"both": scsi.TPGSBoth}[s.alua]
	if err := s.setCHAP(&cfg, c); err != nil {
		return cfg, err
	}
	for _, text := range s.portals {
		p, err := parseTargetPortal(text)
		if err != nil {
			return cfg, usagef("--portal: %w", err)
		}
		cfg.Portals = append(cfg.Portals, p)
	}
	for _, text := range s.luns {
		lun, err := s.lun(text, l)
		if err != nil {
			return cfg, usagef("--lun %s: %w", text, err)
		}
		cfg.LUNs = append(cfg.LUNs, lun)
	}
	return cfg, nil
}

func (s *targetSettings) setCHAP(cfg *target.Config, c *Config) error {
	if c.CHAPUser != "" {
		secret, err := readSecret(c.CHAPSecretFile)
		if err != nil {
			return usagef("--chap-secret-file: %w", err)
		}
		cfg.RequireCHAP = true
		cfg.Secrets = func(user string) ([]byte, bool) { return secret, user == c.CHAPUser }
	}
	if c.MutualCHAPUser != "" {
		secret, err := readSecret(c.MutualCHAPSecretFile)
		if err != nil {
			return usagef("--mutual-chap-secret-file: %w", err)
		}
		cfg.MutualUser, cfg.MutualSecret = c.MutualCHAPUser, secret
	}
	return nil
}

// parseTargetPortal reads HOST:PORT[,GROUP]; port 0 lets the kernel choose.
func parseTargetPortal(text string) (target.PortalConfig, error) {
	address, group, grouped := strings.Cut(text, ",")
	p := target.PortalConfig{Group: 1}
	if grouped {
		n, err := strconv.ParseUint(group, 10, 16)
		if err != nil {
			return p, fmt.Errorf("%q: group %q is not a number from 0 to 65535", text, group)
		}
		p.Group = int(n)
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return p, fmt.Errorf("%q: write it like 127.0.0.1:3260", text)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return p, fmt.Errorf("%q: port %q is not a number up to 65535", text, port)
	}
	p.Address = net.JoinHostPort(host, port)
	return p, nil
}

// lun reads N=ram:SIZE or N=file:PATH[,SIZE] and opens the store.
func (s *targetSettings) lun(text string, l *loop.Loop) (target.LUNConfig, error) {
	lun := target.LUNConfig{
		BlockSize: int(s.blockSize), WriteCache: s.cache != "none",
		ReadOnly: s.readOnly, Thin: s.thin, Rotational: s.rotational,
	}
	number, where, ok := strings.Cut(text, "=")
	kind, rest, typed := strings.Cut(where, ":")
	if !ok || !typed {
		return lun, errors.New("write it like 1=ram:1GiB or 1=file:/srv/disk.img,1GiB")
	}
	n, err := parseLUN(number)
	if err != nil {
		return lun, err
	}
	lun.Number = n
	var size Size
	switch kind {
	case "ram":
		if err := size.UnmarshalText([]byte(rest)); err != nil {
			return lun, err
		}
		lun.Store, err = s.ramStore(uint64(size))
	case "file":
		path, after, sized := strings.Cut(rest, ",")
		if sized {
			if err := size.UnmarshalText([]byte(after)); err != nil {
				return lun, err
			}
		}
		lun.Store, err = target.OpenFile(target.FileConfig{
			Path: path, Size: uint64(size), ReadOnly: s.readOnly,
			Post: func(f func(now time.Duration)) { l.Post(f) },
		})
	default:
		return lun, fmt.Errorf("%q is neither ram nor file", kind)
	}
	return lun, err
}

func (s *targetSettings) ramStore(size uint64) (target.Store, error) {
	ram, err := target.NewRAM(size, 0)
	if err != nil || s.cache == "none" || s.cache == "claimed" {
		return ram, err
	}
	per := target.PerLUN
	if s.cache == "nexus" {
		per = target.PerNexus
	}
	return target.NewVolatile(ram, int(s.blockSize), per)
}

// textFlag makes a pflag.Value of a type that reads itself from text.
type textFlag struct {
	value interface {
		UnmarshalText([]byte) error
		fmt.Stringer
	}
	kind string
}

func (f *textFlag) Set(s string) error { return f.value.UnmarshalText([]byte(s)) }
func (f *textFlag) String() string     { return f.value.String() }
func (f *textFlag) Type() string       { return f.kind }
