package nbd

import (
	"log/slog"
	"math"
	"slices"
	"time"
)

// ServerConfig is what a Server is made of. Zero limits mean the defaults.
type ServerConfig struct {
	Name        string // of the export, which is also served under the empty name
	Description string // for people; may be empty
	Device      Device
	Pool        Pool

	// MaxInFlight bounds the bytes of one client's requests (default: four
	// largest requests), MaxInFlightAll those of all clients together, in
	// which every client has a largest request reserved (default: the reserves
	// and one client's MaxInFlight). What is too small for one largest request
	// is raised to it.
	MaxInFlight, MaxInFlightAll int64
	MaxRequests                 int // unanswered requests of one client; default 256
	MaxClients                  int // default 16, and no more than there are reserves for

	Log func(level slog.Level, msg string, args ...any) // may be nil
}

// A Server serves one Device to several clients. It is not safe for concurrent
// use.
type Server struct {
	cfg    ServerConfig
	dev    Device
	pool   Pool
	sizes  blockSizes
	budget budget
	conns  []*Conn
	first  int // whose turn it is to be resumed first
	free   *Request
	spare  [][]byte // staging buffers of clients that went away
	ids    uint64
	info   Info // as of the batch being parsed

	stopping  bool
	submitted int // requests that the Device has
	queued    int // replies not yet sent to clients that are there
	stats     Stats
}

// Stats are counters since the start, and what is so now.
type Stats struct {
	Clients   int             // connected
	InFlight  int             // requests that the Device has
	Requests  [opCount]uint64 // by Op, handed to the Device
	Bytes     [opCount]uint64 // by Op
	Errors    uint64          // requests answered with an error
	Refused   uint64          // clients turned away for want of room
	Violators uint64          // clients cut off because of what they sent
}

// NewServer makes a Server. The largest request and the reserves follow from
// what the Device's Info says now.
func NewServer(cfg ServerConfig) *Server {
	if cfg.MaxRequests <= 0 {
		cfg.MaxRequests = defaultMaxRequests
	}
	if cfg.MaxClients <= 0 {
		cfg.MaxClients = defaultMaxClients
	}
	if cfg.Log == nil {
		cfg.Log = func(slog.Level, string, ...any) {}
	}
	s := &Server{cfg: cfg, dev: cfg.Device, pool: cfg.Pool}
	s.sizes = s.dev.Info().blockSizes()
	largest := charge(uint64(s.sizes.max)) + requestCost
	if cfg.MaxInFlight <= 0 {
		cfg.MaxInFlight = 4 * largest
	}
	if cfg.MaxInFlightAll <= 0 {
		cfg.MaxInFlightAll = int64(cfg.MaxClients)*largest + cfg.MaxInFlight
	}
	s.budget = newBudget(largest, cfg.MaxInFlight, cfg.MaxInFlightAll, cfg.MaxClients)
	return s
}

// Accept takes a client that is to go through the handshake. It returns nil if
// there is no room for one more, or the server is stopping; the transport then
// closes the socket.
func (s *Server) Accept(now time.Duration) *Conn {
	c := s.join()
	if c == nil {
		return nil
	}
	c.phase = phaseClientFlags
	c.handshakeBy = now + handshakeTimeout
	c.out = appendGreeting(c.out)
	c.waitingSince = now
	return c
}

// AcceptKernel takes a client that knows the export already and starts with
// requests: a socket that was handed to the Linux kernel. It is answered with
// simple replies. When the server stops, it is not told so, because the kernel
// makes of any error an I/O error: what it asks for is left unread or
// unanswered, and it asks again on the next socket.
func (s *Server) AcceptKernel(now time.Duration) *Conn {
	c := s.join()
	if c == nil {
		return nil
	}
	c.kernel = true
	c.flags = s.dev.Info().TransmissionFlags()
	c.beginTransmission()
	return c
}

func (s *Server) join() *Conn {
	if s.stopping || !s.budget.join() {
		s.stats.Refused++
		return nil
	}
	s.ids++
	c := &Conn{server: s, id: s.ids}
	if n := len(s.spare); n > 0 {
		c.staging = s.spare[n-1]
		s.spare = s.spare[:n-1]
	} else {
		c.staging = make([]byte, stagingSize)
	}
	s.conns = append(s.conns, c)
	return c
}

// leave takes c, which has only requests that the Device has, off the list of
// clients.
func (s *Server) leave(c *Conn) {
	s.conns = slices.DeleteFunc(s.conns, func(o *Conn) bool { return o == c })
	s.budget.leave(c.held)
	s.spare = append(s.spare, c.staging)
	c.staging = nil
}

// Conns are the clients that are connected. The slice is the server's own, and
// changes with the next Accept or Closed.
func (s *Server) Conns() []*Conn { return s.conns }

// Resume lets paused clients go on for which there is room again, in turn. It
// is to be called after completions, after Sent, and when the Pool got buffers
// back. It reports whether any went on: those say so in Resumed.
func (s *Server) Resume(now time.Duration) bool {
	went := false
	n := len(s.conns)
	for i := range n {
		c := s.conns[(s.first+i)%n]
		if c.paused && c.resume(now) {
			went = true
		}
	}
	if n > 0 {
		s.first = (s.first + 1) % n
	}
	return went
}

// Shutdown makes the server answer every new request, and every new option of
// a handshake, with ESHUTDOWN, and take no more clients. What the Device has is
// still completed and answered. Kernel clients are no longer read from.
func (s *Server) Shutdown(time.Duration) {
	if s.stopping {
		return
	}
	s.stopping = true
	s.cfg.Log(slog.LevelDebug, "nbd: stopping", "name", s.cfg.Name, "clients", len(s.conns),
		"in_flight", s.submitted)
}

// Idle reports whether the Device has no request and every reply has left.
func (s *Server) Idle() bool { return s.submitted == 0 && s.queued == 0 }

// Tick ends connections whose time is up.
func (s *Server) Tick(now time.Duration) {
	for _, c := range s.conns {
		c.Tick(now)
	}
}

// Deadline is when Tick is wanted next; math.MaxInt64 for never.
func (s *Server) Deadline() time.Duration {
	d := time.Duration(math.MaxInt64)
	for _, c := range s.conns {
		d = min(d, c.Deadline())
	}
	return d
}

// Stats returns a copy of the counters.
func (s *Server) Stats() Stats {
	st := s.stats
	st.Clients, st.InFlight = len(s.conns), s.submitted
	return st
}
