package netperf

import (
	"cmp"

	"picolab/guestagent/load/getopt"
)

// kind changes how an option takes its value.
func kind(k getopt.Argument, o getopt.Option) getopt.Option {
	o.Kind = k
	return o
}

// long gives an option a long name.
func long(name string, o getopt.Option) getopt.Option {
	o.Long = name
	return o
}

// global are the options before "--".
func (o *Options) global() []getopt.Option {
	c := &o.Config
	return []getopt.Option{
		getopt.Value('H', "host[,4|6]", "netserver's name or address (localhost)", func(v string) error { return o.setHost(&c.Host, v) }),
		getopt.Value('L', "addr[,4|6]", "local address of the connections", func(v string) error { return o.setHost(&c.Source, v) }),
		getopt.Value('p', "port[,local]", "netserver's port (12865)", func(v string) error {
			port, local := two(v)
			return cmp.Or(setInt(&c.Port, port, 1), setInt(&c.LocalPort, local, 0))
		}),
		getopt.Flag('4', "IPv4", func() { c.Family = familyV4 }),
		getopt.Flag('6', "IPv6", func() { c.Family = familyV6 }),
		getopt.Value('t', "test", "TCP_STREAM (default), TCP_MAERTS, UDP_STREAM, TCP_RR,\nUDP_RR, TCP_CRR, or omni", o.setTest),
		getopt.Value('l', "n", "seconds (10); negative: bytes of a stream, or transactions", o.setLength),
		getopt.Value('f', "unit", "G M K: bytes, powers of 1024; g m k: bits, powers of 1000", o.setUnit),
		kind(getopt.Numeric, getopt.Flag('c', "measure the local CPU use (/proc/stat)", func() { c.Local.MeasureCPU = true })),
		kind(getopt.Numeric, getopt.Flag('C', "measure the remote CPU use", func() { c.Remote.MeasureCPU = true })),
		kind(getopt.Numeric, getopt.Value('D', "[secs]", "interim results, every second unless told otherwise", o.setInterim)),
		getopt.Value('i', "max,min", "iterations (10,3), at most 30", o.setIterations),
		getopt.Value('I', "level[,w]", "confidence of 95 or 99 percent that the mean is within w\npercent (10: plus or minus 5)", o.setConfidence),
		getopt.Flag('r', "confidence of the result alone, not of the CPU use", func() { o.Repeat.ResultOnly = true }),
		getopt.Value('T', "a,b", "CPUs to run on", pairOf(0, &c.Local.CPU, &c.Remote.CPU)),
		getopt.Flag('j', "measure latencies", func() { c.Latency = true }),
		getopt.Value('P', "0|1", "without or with headings", func(v string) error { o.Headers = v != "0"; return nil }),
		getopt.Value('v', "0|1|2", "one figure; the usual; more", func(v string) error { return setInt(&o.Verbosity, v, 0) }),
		getopt.Value('n', "n", "number of CPUs: taken, and not needed", func(v string) error { return setInt(&o.CPUs, v, 1) }),
		getopt.Value('s', "secs", "wait between setting up and starting", o.setWait),
		getopt.Flag('S', "SO_KEEPALIVE on the data connection", func() { c.Keepalive = true }),
		getopt.Value('y', "a,b", "SO_PRIORITY", pairOf(0, &c.Local.Priority, &c.Remote.Priority)),
		getopt.Value('Y', "a,b", "IP_TOS, or the traffic class of IPv6", pairOf(0, &c.Local.TOS, &c.Remote.TOS)),
		getopt.Value('B', "text", "printed with the result", func(v string) error { o.Brand = v; return nil }),
		{Long: "json", Help: "everything measured, as JSON", Set: func(string) error { o.JSON = true; return nil }},
		getopt.Flag('V', "version", func() { o.Version = true }),
		long("help", getopt.Flag('h', "this", func() { o.Help = true })),
	}
}

// test are the options after "--".
func (o *Options) test() []getopt.Option {
	c := &o.Config
	return []getopt.Option{
		getopt.Value('m', "a[,b]", "size of the send calls, local and remote", sizes(&c.Local.SendSize, &c.Remote.SendSize)),
		getopt.Value('M', "b[,a]", "size of the receive calls, remote and local", sizes(&c.Remote.RecvSize, &c.Local.RecvSize)),
		getopt.Value('r', "req,rsp", "sizes in transactions (1,1)", both(setSize, &c.Request, &c.Response)),
		getopt.Value('s', "a[,b]", "local SO_SNDBUF, SO_RCVBUF", both(setSize, &c.Local.SendBuffer, &c.Local.RecvBuffer)),
		getopt.Value('S', "a[,b]", "remote SO_SNDBUF, SO_RCVBUF", both(setSize, &c.Remote.SendBuffer, &c.Remote.RecvBuffer)),
		kind(getopt.Numeric, getopt.Value('D', "[a][,b]", "TCP_NODELAY", o.setNoDelay)),
		getopt.Value('b', "n", "requests under way beside the first one", func(v string) error { return setInt(&c.Burst, v, 0) }),
		getopt.Value('K', "a,b", "congestion control, for example bbr,cubic", func(v string) error { o.setCongestion(v); return nil }),
		getopt.Value('P', "a,b", "ports of the data connection", pairOf(0, &c.Local.Port, &c.Remote.Port)),
		getopt.Value('R', "0|1", "allow routing (1, but 0 for UDP_STREAM)", func(v string) error { c.Routing = v != "0"; return nil }),
		kind(getopt.Optional, getopt.Value('k', "[list]", "results as KEY=VALUE lines", o.setStyle('k'))),
		kind(getopt.Optional, getopt.Value('o', "[list]", "comma separated", o.setStyle('o'))),
		kind(getopt.Optional, getopt.Value('O', "[list]", "in columns", o.setStyle('O'))),
		getopt.Value('d', "dir", "in an omni test: send, recv or rr", o.setDirection),
		getopt.Value('T', "proto", "in an omni test: tcp or udp", o.setProtocol),
		getopt.Flag('c', "in an omni test: a connection for each transaction", func() { c.Test.Connects = true }),
		getopt.Flag('4', "IPv4 for the data connection", func() { c.DataFamily = familyV4 }),
		getopt.Flag('6', "IPv6 for the data connection", func() { c.DataFamily = familyV6 }),
		getopt.Flag('n', "", func() {}), // connected UDP sockets: the local one always is
		getopt.Flag('N', "", func() {}), // unconnected ones
		getopt.Flag('h', "", func() { o.Help = true }),
	}
}

// pairOf takes whole numbers.
func pairOf(lowest int, a, b *int) func(string) error {
	return both(func(to *int, s string) error { return setInt(to, s, lowest) }, a, b)
}

// sizes takes "first,second", where the first alone leaves the second.
func sizes(a, b *int) func(string) error {
	return func(v string) error {
		first, second := two(v)
		return cmp.Or(setSize(a, first), setSize(b, second))
	}
}
