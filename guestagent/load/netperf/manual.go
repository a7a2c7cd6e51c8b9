package netperf

import "picolab/guestagent/load/getopt"

// Manual is the manual of the netperf command.
func Manual() string {
	o := newOptions()
	return `Netperf measures a network together with a netserver on another machine.

	netperf [option...] [-- test option...]

It talks to netserver of this program and to that of netperf 2.6 and 2.7, and
writes its results in the layout of the original.

Options, most of them as in netperf(1). "a,b" is for the local and the remote
side: "a" alone is both, "a," the first, ",b" the second.

` + getopt.Manual(o.global()) + `
Test options:

` + getopt.Manual(o.test()) + `
A list is output selectors with commas, a file with such, "all", or "?" to see
them. Sizes may end in K, M, G (powers of 1024) or k, m, g (of 1000).

The receiver of a stream sleeps until half of what it reads at a time (-M) is
there, and so wakes less often than the original, which does for any byte.

The exit code is 0, 1 when a test failed, and 2 when the command line is wrong.
`
}

// ServerManual is that of netserver.
func ServerManual() string {
	return `Netserver is the far end of netperf's tests.

	netserver [option...]

It serves the clients of this program and netperf 2.6 and 2.7, several at once,
in the foreground until it gets SIGINT or SIGTERM.

` + getopt.Manual(new(ServerOptions).flags())
}
