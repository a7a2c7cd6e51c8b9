package virtiouser_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"picolab/hostctl/vhostuser"
	"picolab/hostctl/vhostuser/virtiouser"
	"picolab/hostctl/vhostuser/vnet"
)

// A network card and its device, in one program: what the driver sends the device takes.
func Example() {
	dir, err := os.MkdirTemp("", "card")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "s")
	device, err := vnet.New(1, events{})
	if err != nil {
		fmt.Println(err)
		return
	}
	server, err := vhostuser.Listen(path, device.Device(), vhostuser.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(ctx) })

	card, err := virtiouser.Open(ctx, virtiouser.Config{Path: path, Packed: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	frames := make([][]byte, 3)
	pair := card.Pairs()[0]
	n, err := pair.Reserve(frames)
	for i := range n {
		frames[i] = frames[i][:60+i] // fill it
	}
	pair.Send(frames[:n])
	fmt.Println("sent:", n, err)

	room := make([]vnet.Frame, 8)
	for i := range room {
		room[i].Data = make([]byte, 0, 2048)
	}
	n, err = device.Take(0, room)
	fmt.Println("taken:", n, err)

	err = card.Close()
	cancel()
	serving.Wait()
	fmt.Println("closed:", err)
	// Output:
	// sent: 3 <nil>
	// taken: 3 <nil>
	// closed: <nil>
}
