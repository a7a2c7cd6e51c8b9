// Package boot makes the agent a guest's PID 1. Every process start costs a third of a second under emulation, so the
// agent is init itself and loads what vsock needs before anything else; the rest (cold plug, parameters) happens beside
// the first calls.
package boot

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"runtime/debug"
	"sync"
	"time"

	"picolab/guestagent"
	"picolab/guestagent/internal/child"
	"picolab/guestagent/load/pktgen"
	"picolab/guestagent/module"
	"picolab/guestagent/site"
	"picolab/guestagent/transport"
	"picolab/guestagent/verbs"
	"picolab/guestagent/wire"

	"golang.org/x/sys/unix"
)

// Ready is what the console shows when the agent listens.
const Ready = "picolab: agent ready"

// guest is the state of a booted guest.
type guest struct {
	started  time.Time
	ports    pktgen.Ports // that the generators may open
	conf     config
	modules  *module.Set
	children *child.Reaper
	plug     *coldPlug
	cgroups  func() string // mounted when first asked for: it takes a while that nobody should wait for at boot
	site     *site.Site    // of an appliance, else nil
	rescue   bool          // an appliance without its root
}

// Main is PID 1; the generators open the ports given. It does not return unless ctx ends, which nothing but a test brings about.
func Main(ctx context.Context, started time.Time, ports pktgen.Ports) {
	g := &guest{started: started, ports: ports, children: new(child.Reaper), cgroups: sync.OnceValue(mountCgroups)}
	g.prepare()
	var work sync.WaitGroup
	defer work.Wait()
	tasks := map[string]func(context.Context){
		"network": g.network, "cold plug": g.plug.run, "hot plug": g.plug.watch, "shell": g.shell,
	}
	if g.site != nil {
		tasks["site"], tasks["consoles"], tasks["signals"], tasks["power button"] = g.work, g.consoles, g.signals, g.powerButton
	}
	for name, f := range tasks {
		work.Go(func() { safely(name, func() { f(ctx) }) })
	}
	g.serve(ctx)
}

// prepare does what must come before the first call, in order. Nothing here is fatal: an agent that can say what went
// wrong is better than a dead kernel.
func (g *guest) prepare() {
	debug.SetGCPercent(400) // the live heap is a few MiB; a collection under emulation is slow
	check("mount", mountAll("/", mounts))
	os.Setenv("PATH", "/bbin:/bin:/sbin:/usr/bin:/usr/sbin")
	os.Setenv("HOME", "/root")
	cmdline := readOptional("/" + cmdlineFile)
	hurried := hurry("/", cmdline)
	g.openModules(cmdline)
	state, entered := g.enter(cmdline)
	conf, err := readConfig("/")
	if !entered || !errors.Is(err, fs.ErrNotExist) { // an appliance that nobody calls is the usual case
		check("read configuration", err)
	}
	g.conf = conf
	check("swap", g.openSwap())
	if entered {
		g.openSite(state)
	}
	check("host name", setHostname(g.conf.Hostname))
	g.plug = newColdPlug(g.modules, g.conf.Modules)
	g.plug.last = func() {
		if entered {
			check("mount", mountAll("/", machineMounts))
		}
		if hurried {
			check("boot", calm("/"))
		}
	}
	if g.conf.Token != "" { // nobody else could call
		check("load modules", g.plug.first())
	}
	g.children.Run()
}

// openModules reads which modules the root has.
func (g *guest) openModules(cmdline string) {
	var err error
	g.modules, err = module.Open("/", release())
	check("modules", err)
	g.modules.Configure(cmdline)
}

// serve answers calls for ever; without a token nobody could call, and it says so once.
func (g *guest) serve(ctx context.Context) {
	if g.conf.Token == "" {
		if g.site == nil {
			logf("%v: nobody can call this agent", errNoToken)
		}
		<-ctx.Done()
		return
	}
	o := guestagent.Options{
		Token: g.conf.Token, ImageID: g.conf.Image, Started: g.started, Logf: logf, Greeted: g.plug.greet,
		Verbs: verbs.New(verbs.Env{Children: g.children, Modules: g.modules, Settle: g.plug.settle, Power: power, Cgroup: g.cgroups, Ports: g.ports}),
	}
	ready, again := false, 100*time.Millisecond
	for ctx.Err() == nil {
		l, err := g.listen()
		if err == nil {
			if !ready {
				ready = true
				o.Listening = time.Now()
				fmt.Println(Ready)
			}
			safely("serve", func() { err = guestagent.Serve(ctx, l, o) })
		}
		check("serve", err)
		pause(ctx, again)
		again = min(2*again, serveAgain)
	}
}

// serveAgain is the longest pause between two tries to listen. A kernel without vsock never will: its console must stay
// readable.
const serveAgain = 10 * time.Second

var errNoToken = errors.New(bootFile + " has no token")

// listen refuses to serve without a token: any user of the guest could be the one that dials.
func (g *guest) listen() (net.Listener, error) {
	if g.conf.Token == "" {
		return nil, errNoToken
	}
	port := g.conf.AgentPort
	if port == 0 {
		port = wire.Port
	}
	return transport.ListenVsock(port)
}

// safely runs f; a panic becomes a message on the console instead of the end of PID 1.
func safely(name string, f func()) {
	defer func() {
		if r := recover(); r != nil {
			logf("panic in %s: %v\n%s", name, r, debug.Stack())
		}
	}()
	f()
}

func logf(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "picolab: "+format+"\n", args...)
}

func check(what string, err error) {
	if err != nil {
		logf("%s: %v", what, err)
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

func release() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return ""
	}
	return unix.ByteSliceToString(u.Release[:])
}
