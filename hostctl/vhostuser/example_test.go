package vhostuser_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"picolab/hostctl/vhostuser"
	"picolab/hostctl/vhostuser/virtq"
)

// console is a device with one ring, by which the guest prints: virtio-console's transmit queue, for example.
type console struct {
	print func([]byte)
	stop  int // eventfd
	done  chan struct{}
}

func (c *console) Queues() int                { return 1 }
func (c *console) Features() uint64           { return virtq.FeaturePacked } // of the device type, and packed rings if it can
func (c *console) ProtocolFeatures() uint64   { return vhostuser.ProtocolCommon }
func (c *console) SetFeatures(f uint64) error { return nil }
func (c *console) Config() []byte             { return nil }
func (c *console) Disconnected()              {}

// StartRing begins to work the ring, in a goroutine that StopRing waits for.
func (c *console) StartRing(r *vhostuser.Ring) (err error) {
	if c.stop, err = unix.Eventfd(0, unix.EFD_CLOEXEC); err != nil {
		return err
	}
	c.done = make(chan struct{})
	go c.work(r)
	return nil
}

func (c *console) StopRing(*vhostuser.Ring) {
	_, _ = unix.Write(c.stop, []byte{1, 0, 0, 0, 0, 0, 0, 0})
	<-c.done
	_ = unix.Close(c.stop)
}

// work takes what is there, then waits for the driver's kick, or for StopRing.
func (c *console) work(r *vhostuser.Ring) {
	defer close(c.done)
	fds := []unix.PollFd{{Fd: int32(c.stop), Events: unix.POLLIN}, {Fd: int32(r.KickFD()), Events: unix.POLLIN}}
	for fds[0].Revents == 0 {
		if r.Do(c.take) != nil {
			fds = fds[:1] // the ring is broken until it is set up anew
		}
		_, _ = unix.Poll(fds, -1)
		if len(fds) > 1 && fds[1].Revents != 0 {
			var b [8]byte
			_, _ = unix.Read(r.KickFD(), b[:])
		}
	}
}

// take is one turn at the ring: buffers out, used, and back. The driver sees them, and is called, when Do returns.
func (c *console) take(q virtq.Queue) error {
	chains := make([]virtq.Chain, 16) // a real device keeps them
	for {
		n, err := q.PopBatch(chains)
		if err != nil {
			return err
		}
		for i := range chains[:n] {
			text := make([]byte, chains[i].Readable())
			c.print(text[:chains[i].Read(text)])
		}
		q.PushBatch(chains[:n])
		if n == 0 && !q.EnableKick() { // nothing came in between
			return nil
		}
	}
}

// A device of one's own. QEMU connects to it with -chardev socket,id=c,path=PATH and a vhost-user device of its type; the
// guest's memory has to be a memory-backend-memfd with share=on.
func Example() {
	dir, err := os.MkdirTemp("", "console")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	dev := &console{print: func(b []byte) { fmt.Printf("%s", b) }}
	server, err := vhostuser.Listen(filepath.Join(dir, "console"), dev, vhostuser.Options{Places: filepath.Join(dir, "places")})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Serve(ctx) }()

	guest := dialGuest(filepath.Join(dir, "console")) // here QEMU would come in
	guest.say("hello from the guest\n")
	guest.close()
	cancel()
	fmt.Println("serve:", <-done)
	// Output:
	// hello from the guest
	// serve: <nil>
}
