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

// enter goes on in the root file system when the kernel arguments ask for one, and does not return then. In that root it
// says how it was found; without it the machine is a guest, or an appliance that must be looked after on its console.
func (g *guest) enter(cmdline string) (appliance.State, bool) {
	if s, entered := appliance.Entered(); entered {
		return s, true
	}
	o, asked, err := appliance.FromArguments(parameters(cmdline))
	check("kernel arguments", err)
	if !asked {
		return appliance.State{}, false
	}
	err = appliance.Enter(o, g.modules, []string{bootPath}, logf)
	check("appliance", err)
	g.rescue = true
	return appliance.State{}, false
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
	logf("root file system of %s after %.1f s", filepath.Base(s.Device), s.Took)
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
