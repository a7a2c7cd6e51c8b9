package verbs

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"
)

// maxTasks bounds the processes and threads of one command where cgroups are at hand.
const maxTasks = 1024

// cgroup is a cgroup2 group for one command; nil is none.
type cgroup struct {
	dir string
	f   *os.File
}

var cgroupSerial atomic.Int64

// newCgroup makes a group below root; nil when root is "".
func newCgroup(root string) (*cgroup, error) {
	if root == "" {
		return nil, nil
	}
	g := &cgroup{dir: filepath.Join(root, "exec-"+strconv.FormatInt(cgroupSerial.Add(1), 10))}
	if err := os.Mkdir(g.dir, 0o755); err != nil {
		return nil, fmt.Errorf("exec: make group: %w", err)
	}
	_ = os.WriteFile(filepath.Join(g.dir, "pids.max"), []byte(strconv.Itoa(maxTasks)), 0) // absent without the pids controller
	f, err := os.Open(g.dir)
	if err != nil {
		g.remove()
		return nil, fmt.Errorf("exec: open group: %w", err)
	}
	g.f = f
	return g, nil
}

// confine makes the process to be started a member from its first instruction.
func (g *cgroup) confine(attr *syscall.SysProcAttr) {
	if g != nil {
		attr.UseCgroupFD, attr.CgroupFD = true, int(g.f.Fd())
	}
}

// kill ends every member, also those that left the process group (Linux 5.14).
func (g *cgroup) kill() {
	if g != nil {
		_ = os.WriteFile(filepath.Join(g.dir, "cgroup.kill"), []byte("1"), 0) // on older kernels the process group is all there is
	}
}

// remove removes the group once its members are gone.
func (g *cgroup) remove() {
	if g == nil {
		return
	}
	if g.f != nil {
		g.f.Close()
	}
	for range 100 {
		if os.Remove(g.dir) == nil {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}
