package boot

import (
	"context"
	"os"
	"path/filepath"

	"picolab/guestagent/appliance"
	"picolab/guestagent/site"
)

// bootPath is what an appliance is told about itself; its boot segments get it, its root reads it.
const bootPath = "/" + bootFile

// enter makes the root file system this process's own when the kernel arguments ask for one, and says how it was found.
// Without it the machine is a guest, or an appliance that must be looked after on its console.
func (g *guest) enter(cmdline string) (appliance.State, bool) {
	o, asked, err := appliance.FromArguments(parameters(cmdline))
	check("kernel arguments", err)
	if !asked {
		return appliance.State{}, false
	}
	s, err := appliance.Enter(o, g.modules, []string{bootPath}, logf)
	if err != nil {
		check("appliance", err)
		g.rescue = true
		return appliance.State{}, false
	}
	check("mount", mountAll("/", mounts)) // those that did not come along
	g.openModules(cmdline)
	return s, true
}

// openSite takes in what the stick's site folder says, before anybody can look.
func (g *guest) openSite(s appliance.State) {
	o := site.Options{
		Image: g.conf.Image, Run: g.conf.Cmdline["run"], Off: g.conf.Cmdline["site"] == "off",
		Children: g.children, Modules: g.modules, Console: os.Stdout, Logf: logf, Power: power,
	}
	if s.Stick {
		o.Stick = appliance.Stick
	}
	g.site = site.Open(o)
	g.conf.Image = g.site.Image()
	if g.conf.Hostname == "" {
		g.conf.Hostname = g.site.Hostname()
	}
	if g.conf.Hostname == "" {
		g.conf.Hostname = "picolab"
	}
	g.site.Apply()
	logf("root file system of %s after %.1f s", filepath.Base(s.Device), s.Took.Seconds())
}

// work does what the site folder asks for, once drivers are loaded.
func (g *guest) work(ctx context.Context) {
	select {
	case <-g.plug.done:
	case <-ctx.Done():
		return
	}
	g.site.Work(ctx)
}
