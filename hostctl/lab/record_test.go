package lab

import (
	"bytes"
	"context"
	"errors"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"picolab/guestagent/load/pcapng"
	"picolab/hostctl/vale"
)

// bareSwitch is a link that is a switch, with something that sends on it.
func bareSwitch(t *testing.T) (*Network, *vale.Pipe) {
	t.Helper()
	sw, err := vale.New(vale.Options{Logf: t.Logf})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := sw.Close(); err != nil {
			t.Error(err)
		}
	})
	a, b := vale.NewPipe(1<<20, 0), vale.NewPipe(1<<20, 0)
	if err := errors.Join(sw.Attach("a", a.Port()), sw.Attach("b", b.Port())); err != nil {
		t.Fatal(err)
	}
	return &Network{spec: Link{Name: "lan"}, sw: sw}, a
}

// say sends frames and waits until the switch has had them all.
func say(t *testing.T, n *Network, from *vale.Pipe, sizes ...int) {
	t.Helper()
	before := n.sw.Stats().Ports[0].FromFrames
	for i, size := range sizes {
		data := append([]byte("\xff\xff\xff\xff\xff\xff\x02\x00\x00\x00\x00\x01\x88\xb5"), make([]byte, size-14)...)
		data[14] = byte(i)
		from.Write([]vale.Frame{{Data: data}})
	}
	until(t, "the frames have passed", func() bool { return n.sw.Stats().Ports[0].FromFrames == before+uint64(len(sizes)) })
}

// TestRecord: two recordings of a switch at a time, each from its beginning to its end, one of them of limited frames.
func TestRecord(t *testing.T) {
	n, a := bareSwitch(t)
	var whole, short bytes.Buffer
	say(t, n, a, 100) // before: not recorded
	stopWhole, err := n.record(&whole, RecordOptions{})
	if err != nil {
		t.Fatal(err)
	}
	say(t, n, a, 60, 1514)
	stopShort, err := n.record(&short, RecordOptions{Snaplen: 64, Bytes: 9100})
	if err != nil {
		t.Fatal(err)
	}
	say(t, n, a, 9000, 2000, 80)
	stats, err := stopWhole(t.Context())
	if err != nil || stats.Packets != 5 || stats.Largest != 9000 || stats.Bytes != 60+1514+9000+2000+80 || stats.Dropped != 0 {
		t.Errorf("%+v, %v", stats, err)
	}
	say(t, n, a, 99)
	if stats, err = stopShort(t.Context()); err != nil || stats.Packets != 2 || stats.Bytes != 9080 {
		t.Errorf("%+v, %v", stats, err)
	}
	say(t, n, a, 100) // after
	if got := lengths(t, &whole); len(got) != 5 || got[1] != [2]int{1514, 1514} {
		t.Errorf("%v", got)
	}
	if got := lengths(t, &short); len(got) != 2 || got[0] != [2]int{64, 9000} {
		t.Errorf("%v", got)
	}
}

// lengths are those of a capture's frames: kept, and on the wire.
func lengths(t *testing.T, data *bytes.Buffer) (all [][2]int) {
	t.Helper()
	r := pcapng.NewReader(data)
	for {
		p, err := r.Next()
		if err != nil {
			return all
		}
		all = append(all, [2]int{len(p.Data), p.Length})
	}
}

// full is a disk without room.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space left") }

// TestRecordToFullDisk: the error is told and the switch goes on.
func TestRecordToFullDisk(t *testing.T) {
	n, a := bareSwitch(t)
	stop, err := n.record(full{}, RecordOptions{})
	if err != nil {
		t.Fatal(err)
	}
	say(t, n, a, 60000, 60000, 60)
	if _, err := stop(t.Context()); err == nil {
		t.Error("no error from a full disk")
	}
	say(t, n, a, 60)
}

// TestCaptureFile: tcpdump(8) judges the file.
func TestCaptureFile(t *testing.T) {
	tcpdump, err := exec.LookPath("tcpdump")
	if err != nil {
		t.Skip("tcpdump(8) not installed")
	}
	n, a := bareSwitch(t)
	path := filepath.Join(t.TempDir(), "lan.pcapng")
	c, err := n.startCapture(path)
	if err != nil {
		t.Fatal(err)
	}
	say(t, n, a, 60, 1514, 60)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := c.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(tcpdump, "-ner", path).CombinedOutput()
	if err != nil || strings.Count(string(out), "ethertype") != 3 || !strings.Contains(string(out), "length 1514") {
		t.Errorf("%v\n%s", err, out)
	}
	if _, err := n.startCapture("/proc/none/x"); err == nil {
		t.Error("a capture to nowhere")
	}
}
