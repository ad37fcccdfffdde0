package target

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

func newVolatile(tb testing.TB, per Volatility) *Volatile {
	tb.Helper()
	v, err := NewVolatile(newRAM(tb, 64<<10), 512, per)
	if err != nil {
		tb.Fatal(err)
	}
	return v
}

// play does what a line says: "A=1" nexus A writes 1 to the block, "A!2" the same
// with FUA, "A~" A flushes, "lose" all is lost, "lose:n" content n stays.
// It returns what the block reads.
func playVolatile(v *Volatile, line string) byte {
	for _, w := range strings.Fields(line) {
		switch {
		case strings.HasPrefix(w, "lose:"):
			v.Lose(func(uint64, int) int { return int(w[5] - '0') })
		case w == "lose":
			v.Lose(LoseAll)
		case w[1] == '~':
			v.Submit(&Op{Kind: OpFlush, Nexus: uint32(w[0])})
		default:
			v.Submit(&Op{
				Kind: OpWrite, Nexus: uint32(w[0]), FUA: w[1] == '!',
				Length: 512, Data: pattern(w[2]-'0', 512),
			})
		}
	}
	b := make([]byte, 512)
	v.Submit(&Op{Kind: OpRead, Length: 512, Data: b})
	return b[0]
}

func TestVolatile(t *testing.T) {
	for _, c := range []struct {
		per  Volatility
		line string
		want byte
	}{
		{PerLUN, "A=1", 1},
		{PerLUN, "A=1 lose", 0},
		{PerLUN, "A=1 A~ lose", 1},
		{PerLUN, "A=1 B~ lose", 1},
		{PerLUN, "A=1 A~ A=2 lose", 1},
		{PerLUN, "A=1 B=2 lose", 0},
		{PerLUN, "A!1 lose", 1},
		{PerLUN, "A=1 lose A=2 lose", 0},
		{PerNexus, "A=1 B~ lose", 0},
		{PerNexus, "A=1 A~ lose", 1},
		{PerNexus, "A=1 B=2 A~", 2},
		{PerNexus, "A=1 B=2 A~ lose", 1},
		{PerNexus, "A=1 B=2 B~ lose", 2},
		{PerNexus, "A=1 B=2 B~ A~ lose", 2}, // A's flush brings nothing back
		{PerNexus, "A=1 B=2 A~ B~ lose", 2},
		{PerNexus, "A=1 B=2 A=3 B~ lose", 2},
		{PerNexus, "A=1 B=2 A=3 A~ lose", 3},
		{PerNexus, "A=1 B!2 lose", 2},
		{PerNexus, "A=1 B!2 A~ lose", 2},
		{PerNexus, "A=1 B=2 lose:1", 1},
		{PerNexus, "A=1 B=2 lose:2", 2},
		{PerNexus, "A=1 B=2 lose:1 lose", 1}, // what stays is stable
	} {
		if got := playVolatile(newVolatile(t, c.per), c.line); got != c.want {
			t.Errorf("%v %s: %d, want %d", c.per, c.line, got, c.want)
		}
	}
}

// A naive model: for every block the stable content and all writes since, in
// their order, with whose they are.
type naiveBlock struct {
	stable byte
	writes []struct {
		nexus uint32
		value byte
	}
}

func (n *naiveBlock) live() byte {
	if len(n.writes) > 0 {
		return n.writes[len(n.writes)-1].value
	}
	return n.stable
}

func (n *naiveBlock) flush(nexus uint32, all bool) {
	for i := len(n.writes) - 1; i >= 0; i-- {
		if all || n.writes[i].nexus == nexus {
			n.stable = n.writes[i].value
			n.writes = n.writes[i+1:]
			return
		}
	}
}

func TestVolatileAgainstNaiveModel(t *testing.T) {
	for _, per := range []Volatility{PerLUN, PerNexus} {
		t.Run(fmt.Sprint(per), func(t *testing.T) {
			const blocks = 16
			rnd := rand.New(rand.NewPCG(3, uint64(per)))
			v := newVolatile(t, per)
			model := make([]naiveBlock, blocks)
			for step := range 50000 {
				lba := rnd.Uint64N(blocks)
				n := rnd.Uint64N(min(4, blocks-lba)) + 1
				nexus := rnd.Uint32N(3) + 1
				op := Op{Nexus: nexus, Offset: lba * 512, Length: n * 512}
				value := byte(step)
				switch rnd.IntN(12) {
				case 0:
					op.Kind = OpFlush
					if rnd.IntN(2) == 0 {
						op.Offset, op.Length, lba, n = 0, 0, 0, blocks
					}
					for i := lba; i < lba+n; i++ {
						model[i].flush(nexus, per == PerLUN)
					}
				case 1:
					keep := rnd.IntN(3) == 0
					v.Lose(func(uint64, int) int {
						if keep {
							return 100
						}
						return 0
					})
					for i := range model {
						m := &model[i]
						if keep {
							m.stable = m.live()
						}
						m.writes = nil
					}
					continue
				default:
					op.Kind, op.FUA = OpWrite, rnd.IntN(8) == 0
					if rnd.IntN(6) == 0 {
						op.Kind, value = OpZero, 0
					} else {
						op.Data = pattern(value, int(n*512))
					}
					for i := lba; i < lba+n; i++ {
						m := &model[i]
						m.writes = append(m.writes, struct {
							nexus uint32
							value byte
						}{nexus, value})
						if op.FUA {
							m.flush(nexus, true)
						}
					}
				}
				v.Submit(&op)
				check(t, v, model, step)
			}
		})
	}
}

func check(t *testing.T, v *Volatile, model []naiveBlock, step int) {
	t.Helper()
	b := make([]byte, 512)
	for i := range model {
		v.Submit(&Op{Kind: OpRead, Offset: uint64(i) * 512, Length: 512, Data: b})
		if want := pattern(model[i].live(), 512); !bytes.Equal(b, want) {
			t.Fatalf("step %d: block %d reads %d, want %d", step, i, b[0], want[0])
		}
		v.ReadStable(b, uint64(i))
		if want := pattern(model[i].stable, 512); !bytes.Equal(b, want) {
			t.Fatalf("step %d: block %d is %d on the medium, want %d", step, i, b[0], want[0])
		}
	}
}

func TestLoseAsksInOrder(t *testing.T) {
	v := newVolatile(t, PerNexus)
	for _, lba := range []uint64{9, 3, 7, 1} {
		v.Submit(&Op{Kind: OpWrite, Offset: lba * 512, Length: 512, Data: pattern(1, 512)})
	}
	var asked []uint64
	v.Lose(func(lba uint64, versions int) int {
		asked = append(asked, lba)
		return versions
	})
	if fmt.Sprint(asked) != "[1 3 7 9]" {
		t.Errorf("asked %v", asked)
	}
	if v.Unstable() != 0 {
		t.Errorf("%d blocks are unstable afterwards", v.Unstable())
	}
}
