package memif_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"picolab/guestagent/load/memif"
)

// polled is for those who look at their ports all the time.
type polled struct{}

func (polled) Up(int, int) {}
func (polled) Down(int)    {}

// Two ends of one interface. In place of either could be dpdk-testpmd with
// --vdev=net_memif0,role=client,id=0,socket=PATH,socket-abstract=no, or VPP.
func Example() {
	dir, err := os.MkdirTemp("", "memif")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	ctx, cancel := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	var ends []*memif.Port
	for _, role := range []memif.Role{memif.Server, memif.Client} {
		p, err := memif.New(memif.Config{Role: role, Path: filepath.Join(dir, "socket")}, polled{})
		if err != nil {
			fmt.Println(err)
			break
		}
		serving.Go(func() { _ = p.Serve(ctx) })
		ends = append(ends, p)
	}
	frame, batch := make([]byte, 60), [][]byte{make([]byte, 0, memif.MaxFrame)}
	for range 1000 { // until they are connected
		if n, _ := ends[0].Take(0, batch); n == 1 {
			fmt.Println(len(batch[0]), "bytes")
			break
		}
		ends[1].Put(0, [][]byte{frame})
		time.Sleep(10 * time.Millisecond)
	}
	cancel()
	serving.Wait()
	// Output: 60 bytes
}
