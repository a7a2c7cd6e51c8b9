package switchboard

import (
	"bytes"
	"errors"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"picolab/guestagent/load/pktgen"
	"picolab/guestagent/load/pktgen/packet"
	"picolab/hostctl/internal/netdev"
	"picolab/hostctl/internal/nstest"
	"picolab/hostctl/vale"
	"picolab/hostctl/vhostuser"
)

// TestOpenRefuses: texts that describe no port; nothing is made.
func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	for _, text := range []string{
		"", ":", "tap:", "packet:", "packet:lo,x", "vhost-user:" + dir + "/no/such/dir", "vhost-user:" + dir + "/s,queues=1000",
		"vhost-user:" + dir + "/s,queues=x", "stream:" + dir + "/s,x", "nonsense:x", "memif:", "vhost-user:", "vhost-user:fd=x", "vhost-user:" + dir + "/a,queues=0", "stream:" + dir + "/a,queues=2",
		"memif:" + dir + "/a,id=x", "memif:" + dir + "/a,size=3", "memif:" + dir + "/a,queues=99", "memif:" + dir + "/a,once=1",
		"memif:" + dir + "/a,secret=" + strings.Repeat("x", 99), "tap:t0,server", "xdp:no-such-link", "packet:no-such-link",
		"host:a-name-that-is-too-long",
	} {
		if p, err := Open(text, vhostuser.Options{}); err == nil {
			t.Errorf("%s was opened", text)
			_ = p.Close()
		}
	}
	if left, _ := filepath.Glob(dir + "/*"); len(left) != 0 {
		t.Errorf("left are %q", left)
	}
	for kind := range openers {
		if !strings.Contains(Kinds, kind+":") {
			t.Errorf("kind %s is not described", kind)
		}
	}
}

// TestHostKind: "host:" is this host, on a netdev that goes with its port.
func TestHostKind(t *testing.T) {
	nstest.Run(t, func() {
		p, err := Open("host:sw0", vhostuser.Options{})
		if err != nil {
			t.Error(err)
			return
		}
		reach(t, p)
		if netdev.Exists("sw0") {
			t.Error("the netdev is left")
		}
	})
}

// TestXDP: the far end of a cable is reached by AF_XDP on the near one, both ways; frames that are too long are lost, and
// nothing else; and the port goes with its link.
func TestXDP(t *testing.T) {
	nstest.Run(t, func() {
		ip := func(line string) {
			if out, err := exec.Command("ip", strings.Fields(line)...).CombinedOutput(); err != nil {
				t.Errorf("ip %s: %v %s", line, err, out)
			}
		}
		ip("link add x0 type veth peer name x1")
		ip("link set x0 up arp off")
		ip("link set x1 up arp off")
		p, err := Open("xdp:x0", vhostuser.Options{})
		if err != nil {
			t.Logf("no AF_XDP here: %v", err)
			return
		}
		b := board(t)
		pipe := vale.NewPipe(1<<20, 0)
		far, ferr := packet.Open(t.Context(), "x1", pktgen.Use{Send: true, Receive: true, Size: 1514, Queues: 1})
		if err := errors.Join(b.Switches.Attach("vale0:x", p), b.Switches.Attach("vale0:pipe", pipe.Port()), ferr); err != nil {
			t.Error(err)
			return
		}
		crossed(t, pipe, far)
		if err := far.Close(); err != nil {
			t.Error(err)
		}
		ip("link del x0")
		if !soon(func() bool { _, ok := portOf(t, b, "vale0:x"); return !ok }) {
			t.Error("the port does not go with its link")
		}
	})
}

// soon reports whether something happens soon. It may be called from any goroutine.
func soon(done func() bool) bool {
	for end := time.Now().Add(30 * time.Second); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			return false
		}
	}
	return true
}

// crossed sends numbered frames from a pipe of the switch to a port at the far end of its cable, and the other way. The kernel
// of either end may have something of its own to say.
func crossed(t *testing.T, pipe *vale.Pipe, far pktgen.Port) {
	const total = 200
	q, frames, came := far.Queues()[0], make([][]byte, 32), 0
	pipe.Write([]vale.Frame{{Data: make([]byte, 9000)}})
	for i := range total {
		pipe.Write([]vale.Frame{{Data: numbered(i)}})
	}
	if !soon(func() bool {
		n, err := q.Receive(frames)
		for _, f := range frames[:n] {
			if bytes.Equal(f, numbered(came)) {
				came++
			}
		}
		return errors.Join(err, q.Release()) != nil || came == total
	}) {
		t.Errorf("%d of %d frames came out of the switch", came, total)
	}
	sent, got := 0, make([]vale.Frame, vale.MaxBatch)
	came = 0
	if !soon(func() bool {
		n, err := q.Reserve(frames[:min(len(frames), total-sent)])
		for i := range n {
			frames[i] = frames[i][:copy(frames[i], numbered(sent+i))]
		}
		sent += n
		err = errors.Join(err, q.Send(frames[:n]))
		for _, f := range got[:pipe.Read(got)] {
			if bytes.Equal(f.Data, numbered(came)) {
				came++
			}
		}
		return err != nil || came == total
	}) || came != total {
		t.Errorf("%d of %d frames came into the switch", came, total)
	}
}
