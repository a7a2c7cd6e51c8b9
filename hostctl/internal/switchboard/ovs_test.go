package switchboard

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"picolab/guestagent/load/testpmd"
)

// ovsTime limits each step of Open vSwitch's start.
const ovsTime = 20 * time.Second

// ovs is the host image's Open vSwitch with DPDK, on the first CPU, with all its files in a folder.
type ovs struct {
	b       *testing.B
	dir     string
	running []*exec.Cmd
}

// forward has it be a learning switch (NORMAL) between vhost-user sockets in its folder. Each port has buffers of its own: those
// that all would share take 1.5 GB, and long to make.
func (o *ovs) forward(sockets ...string) error {
	eal := fmt.Sprintf("--no-huge --legacy-mem -m 768 --no-pci --no-telemetry -d %s -d %s", testpmd.Driver(o.b, "mempool_ring"), testpmd.Driver(o.b, "bus_vdev"))
	steps := []func() error{
		func() error { return o.run("usr/bin/ovsdb-tool", "create", o.at("conf.db"), o.schema()) },
		func() error {
			return o.start("db.sock", "usr/sbin/ovsdb-server", o.at("conf.db"), "--remote=p"+o.db(), "--unixctl="+o.at("dbctl"), "-vconsole:off")
		},
		func() error { return o.configure("--no-wait", "init") },
		func() error {
			return o.configure("--no-wait", "set", "Open_vSwitch", ".", "other_config:dpdk-init=true", "other_config:pmd-cpu-mask=0x1",
				"other_config:dpdk-lcore-mask=0x1", "other_config:per-port-memory=true", fmt.Sprintf("other_config:dpdk-extra=%q", eal))
		},
		func() error {
			return o.start("vsctl", "usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk", o.db(), "--unixctl="+o.at("vsctl"),
				"--log-file="+o.at("vswitchd.log"), "-vconsole:off")
		},
		func() error {
			return o.configure("add-br", "br0", "--", "set", "bridge", "br0", "datapath_type=netdev")
		},
	}
	for _, name := range sockets {
		steps = append(steps, func() error {
			return o.configure("add-port", "br0", name, "--", "set", "Interface", name, "type=dpdkvhostuser")
		})
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func (o *ovs) at(name string) string { return filepath.Join(o.dir, name) }
func (o *ovs) db() string            { return "unix:" + o.at("db.sock") }
func (o *ovs) share() string         { return filepath.Join(testpmd.Root(o.b), "usr/share/openvswitch") }
func (o *ovs) schema() string        { return filepath.Join(o.share(), "vswitch.ovsschema") }

func (o *ovs) configure(args ...string) error {
	return o.run("usr/bin/ovs-vsctl", append([]string{"--db=" + o.db()}, args...)...)
}

func (o *ovs) program(path string, args []string) *exec.Cmd {
	c := testpmd.Program(o.b, path, args...)
	c.Env = append(os.Environ(), "OVS_PKGDATADIR="+o.share())
	for _, name := range []string{"OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR", "OVS_SYSCONFDIR", "XDG_RUNTIME_DIR", "RUNTIME_DIRECTORY"} {
		c.Env = append(c.Env, name+"="+o.dir)
	}
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return c
}

// run runs a program to its end.
func (o *ovs) run(path string, args ...string) error {
	var out bytes.Buffer
	c := o.program(path, args)
	c.Stdout, c.Stderr = &out, &out
	if err := c.Start(); err != nil {
		return err
	}
	kill := time.AfterFunc(ovsTime, func() { _ = syscall.Kill(-c.Process.Pid, syscall.SIGKILL) })
	defer kill.Stop()
	if err := c.Wait(); err != nil {
		return fmt.Errorf("%s %q: %w %s", filepath.Base(path), args, err, out.String())
	}
	return nil
}

// start starts a program, which is ready when it has made a socket.
func (o *ovs) start(socket, path string, args ...string) error {
	c := o.program(path, args)
	if err := c.Start(); err != nil {
		return err
	}
	o.running = append(o.running, c)
	for end := time.Now().Add(ovsTime); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(o.at(socket)); err == nil {
			return nil
		}
	}
	return fmt.Errorf("%s does not start", filepath.Base(path))
}

// stop ends what was started.
func (o *ovs) stop() {
	for _, c := range o.running {
		_ = syscall.Kill(-c.Process.Pid, syscall.SIGKILL)
		_ = c.Wait()
	}
}
