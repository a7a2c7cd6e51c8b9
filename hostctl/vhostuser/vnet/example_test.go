package vnet_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"picolab/hostctl/vhostuser"
	"picolab/hostctl/vhostuser/vnet"
)

// polled is for those who look at their ports all the time.
type polled struct{}

func (polled) Up(int, int) {}
func (polled) Down(int)    {}

// A wire between two guests. Each QEMU has -chardev socket,id=c,path=DIR/a (or b), -netdev vhost-user,chardev=c,id=n and
// -device virtio-net-pci,netdev=n, and its memory in a memory-backend-memfd with share=on.
func Example() {
	dir, err := os.MkdirTemp("", "wire")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	ctx, cancel := context.WithCancel(context.Background())
	var ports []*vnet.Port
	var servers sync.WaitGroup
	for _, name := range []string{"a", "b"} {
		port, err := vnet.New(1, polled{})
		if err != nil {
			fmt.Println(err)
			break
		}
		server, err := vhostuser.Listen(filepath.Join(dir, name), port.Device(), vhostuser.Options{})
		if err != nil {
			fmt.Println(err)
			break
		}
		servers.Go(func() { _ = server.Serve(ctx) })
		ports = append(ports, port)
	}
	batch := make([]vnet.Frame, 32)
	for i := range batch {
		batch[i].Data = make([]byte, vnet.MaxFrame)
	}
	for range 10 { // or for ever
		for i, port := range ports {
			n, err := port.Take(0, batch)
			if err == nil {
				ports[1-i].Put(0, batch[:n])
			}
		}
	}
	cancel()
	servers.Wait()
	fmt.Println("frames:", ports[0].Stats().FromFrames+ports[1].Stats().FromFrames)
	// Output: frames: 0
}
