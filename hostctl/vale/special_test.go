package vale

import (
	"bytes"
	"fmt"
	"reflect"
	"testing"
	"time"
)

// lineTest sends n numbered frames over a line with faults, with a clock of the test's, and returns the numbers as they came.
func lineTest(t *testing.T, f Faults, n int) (got []int, count Counters, spoiled int) {
	t.Helper()
	now := int64(0)
	s, _ := stepped(t, 0, 0)
	s.waker.clock = func() int64 { return now }
	from, to := &script{}, &script{room: 1 << 20}
	_, _ = s.Attach("from", from), s.Attach("to", to)
	if err := s.SetFaults("to", f); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		from.in = append(from.in, numbered(i))
		s.round()
		now += int64(time.Millisecond)
	}
	for range 200 {
		s.round()
		now += int64(time.Millisecond)
	}
	for _, b := range to.got {
		i := int(b[14])<<8 | int(b[15])
		if !bytes.Equal(b, numbered(i).Data) {
			spoiled++
		}
		got = append(got, i)
	}
	return got, s.member("to").count, spoiled
}

func numbered(i int) Frame {
	f := frame(2, 1, 60)
	f.Data[14], f.Data[15] = byte(i>>8), byte(i)
	return f
}

func TestFaults(t *testing.T) {
	const n = 1000
	for name, tc := range map[string]struct {
		f        Faults
		min, max int // frames that arrive
	}{
		"none":      {Faults{Seed: 1}, n, n},
		"loss":      {Faults{Loss: 0.3}, 640, 760},
		"all lost":  {Faults{Loss: 1}, 0, 0},
		"duplicate": {Faults{Duplicate: 0.3}, 1240, 1360},
		"corrupt":   {Faults{Corrupt: 0.3}, n, n},
		"reorder":   {Faults{Reorder: 0.3}, n, n},
		"delay":     {Faults{Delay: 20 * time.Millisecond}, n, n},
		"jitter":    {Faults{Jitter: 20 * time.Millisecond}, n, n},
	} {
		t.Run(name, func(t *testing.T) {
			got, count, spoiled := lineTest(t, tc.f, n)
			if len(got) < tc.min || len(got) > tc.max || int(count.ToFrames) != len(got) {
				t.Errorf("%d frames, want %d to %d; %+v", len(got), tc.min, tc.max, count)
			}
			if (spoiled > 0) != (name == "corrupt") {
				t.Errorf("%d frames are spoiled", spoiled)
			}
			swaps := 0
			for i := 1; i < len(got); i++ {
				if got[i] < got[i-1] {
					swaps++
				}
			}
			if name != "corrupt" && (swaps > 50) != (name == "reorder" || name == "jitter") {
				t.Errorf("%d frames were overtaken", swaps)
			}
			again, _, _ := lineTest(t, tc.f, n)
			if !reflect.DeepEqual(got, again) {
				t.Error("the same seed has another fate")
			}
		})
	}
}

// TestDelay: a frame is under way for so long, and the switch knows when to wake up for it.
func TestDelay(t *testing.T) {
	now := int64(0)
	s, _ := stepped(t, 0, 0)
	s.waker.clock = func() int64 { return now }
	from, to := &script{in: []Frame{numbered(1)}}, &script{room: 9}
	_, _ = s.Attach("from", from), s.Attach("to", to)
	if err := s.SetFaults("to", Faults{Delay: time.Second}); err != nil {
		t.Fatal(err)
	}
	s.round()
	s.round()
	if s.waker.deadline != int64(time.Second) {
		t.Errorf("sleeps until %d", s.waker.deadline)
	}
	if now = int64(time.Second) - 1; s.round() != 0 || len(to.got) != 0 {
		t.Error("too early")
	}
	if now++; s.round() != 1 || len(to.got) != 1 || s.waker.deadline != never {
		t.Errorf("%d frames, then sleeps until %d", len(to.got), s.waker.deadline)
	}
}

func TestFaultsRefuse(t *testing.T) {
	s, _ := stepped(t, 1, 0)
	for _, f := range []Faults{{Loss: -1}, {Loss: 1.1}, {Delay: -1}} {
		if err := s.SetFaults("0", f); err == nil {
			t.Errorf("%+v", f)
		}
	}
	if s.SetRate("0", 1, -1) == nil {
		t.Error("burst of -1")
	}
}

// TestRate: in a second comes what the rate says, give or take a burst, and nothing is lost.
func TestRate(t *testing.T) {
	now := int64(0)
	s, _ := stepped(t, 0, 0)
	s.waker.clock = func() int64 { return now }
	from, to := &script{}, &script{room: 1 << 30}
	_, _ = s.Attach("from", from), s.Attach("to", to)
	const size, burst = 1000, 10 * (1000 + frameCost)
	if err := s.SetRate("from", 8_192_000, burst); err != nil { // 1000 frames of 1024 bytes on the wire
		t.Fatal(err)
	}
	for range 5000 {
		from.in = append(from.in, frame(2, 1, size))
	}
	for ; now < 2e9; now += 100_000 {
		s.round()
	}
	if n := len(to.got); n < 1990 || n > 2030 || n+len(from.in) != 5000 {
		t.Errorf("%d frames came, %d wait", n, len(from.in))
	}
}

// sink remembers what it is shown.
type sink struct{ seen []string }

func (k *sink) Frame(port string, to bool, _ time.Time, f *Frame) {
	k.seen = append(k.seen, fmt.Sprintf("%s %v %d", port, to, len(f.Data)))
}

func TestMirror(t *testing.T) {
	s, p := stepped(t, 3, 0)
	one, all := &sink{}, &sink{}
	if s.Mirror("1", one) != nil || s.Mirror("", all) != nil || s.Mirror("9", one) == nil {
		t.Error("mirror")
	}
	send := func(from, to, size int) {
		p[from].Write([]Frame{frame(uint32(to+1), uint32(from+1), size)})
		s.round()
	}
	send(0, 1, 60) // flooded
	send(1, 0, 61)
	send(0, 2, 62) // flooded
	send(2, 0, 63)
	if want := []string{"1 true 60", "1 false 61", "1 true 62"}; !reflect.DeepEqual(one.seen, want) {
		t.Errorf("port 1: %q", one.seen)
	}
	if want := []string{"0 false 60", "1 false 61", "0 false 62", "2 false 63"}; !reflect.DeepEqual(all.seen, want) {
		t.Errorf("all: %q", all.seen)
	}
	_, _ = s.Mirror("1", nil), s.Mirror("", nil)
	send(0, 1, 64)
	if len(one.seen) != 3 || len(all.seen) != 4 {
		t.Error("shown after the end")
	}
}

// TestSet follows the rules of VALE's names.
func TestSet(t *testing.T) {
	set := &Set{Options: Options{Logf: t.Logf}}
	for _, name := range []string{"", "vale", "vale0", "vale0:", "bridge0:1", "vale-0:1", "Vale0:1", ":1"} {
		if err := set.Attach(name, NewPipe(0, 0).Port()); err == nil {
			t.Errorf("%q is a name", name)
		}
	}
	for _, name := range []string{"vale0:1", "vale0:2", "vale:x", "valea_B9:eth0:1"} {
		if err := set.Attach(name, NewPipe(0, 0).Port()); err != nil {
			t.Error(err)
		}
	}
	if got := set.Names(); !reflect.DeepEqual(got, []string{"vale", "vale0", "valea_B9"}) {
		t.Errorf("%q", got)
	}
	if set.Switch("vale0").Len() != 2 || set.Detach("vale0:3") == nil || set.Detach("vale9:1") == nil {
		t.Error("detach of nothing")
	}
	if set.Detach("vale0:1") != nil || set.Switch("vale0") == nil || set.Detach("vale0:2") != nil || set.Switch("vale0") != nil {
		t.Error("a switch lasts until its last port")
	}
	if err := set.Close(); err != nil || set.Attach("vale0:1", NewPipe(0, 0).Port()) == nil {
		t.Errorf("closed: %v", err)
	}
}
