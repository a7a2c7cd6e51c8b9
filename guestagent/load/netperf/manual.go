package netperf

// Manual is the manual of the netperf command, which is its doc comment.
const Manual = `Netperf measures a network together with a netserver on another machine.

	netperf [option...] [-- test option...]

It talks to netserver of this program and to that of netperf 2.6 and 2.7, and
writes its results in the layout of the original.

Options, most of them as in netperf(1). "a,b" is for the local and the remote
side: "a" alone is both, "a," the first, ",b" the second.

	-H host[,4|6]   netserver's name or address (localhost)
	-L addr[,4|6]   local address of the connections
	-p port[,local] netserver's port (12865)
	-4, -6          IPv4 or IPv6
	-t test         TCP_STREAM (default), TCP_MAERTS, UDP_STREAM, TCP_RR,
	                UDP_RR, TCP_CRR, or omni
	-l n            seconds (10); negative: bytes of a stream, or transactions
	-f unit         G M K: bytes, powers of 1024; g m k: bits, powers of 1000
	-c, -C          measure the local, remote CPU use (/proc/stat)
	-D [secs]       interim results, every second unless told otherwise
	-i max,min      iterations (10,3), at most 30
	-I level[,w]    confidence of 95 or 99 percent that the mean is within w
	                percent (10: plus or minus 5)
	-r              confidence of the result alone, not of the CPU use
	-T a,b          CPUs to run on
	-j              measure latencies
	-P 0|1          without or with headings
	-v 0|1|2        one figure; the usual; more
	-n n            number of CPUs: taken, and not needed
	-s secs         wait between setting up and starting
	-S              SO_KEEPALIVE on the data connection
	-y a,b  -Y a,b  SO_PRIORITY; IP_TOS
	-B text         printed with the result
	--json          everything measured, as JSON
	-V              version

Test options:

	-m a[,b]        size of the send calls, local and remote
	-M b[,a]        size of the receive calls, remote and local
	-r req,rsp      sizes in transactions (1,1)
	-s a[,b]        local SO_SNDBUF, SO_RCVBUF
	-S a[,b]        remote SO_SNDBUF, SO_RCVBUF
	-D [a][,b]      TCP_NODELAY
	-b n            requests under way beside the first one
	-K a,b          congestion control, for example bbr,cubic
	-P a,b          ports of the data connection
	-R 0|1          allow routing (1, but 0 for UDP_STREAM)
	-k [list]       results as KEY=VALUE lines
	-o [list]       comma separated
	-O [list]       in columns
	-d dir -T proto in an omni test: send, recv, rr; tcp, udp
	-c              in an omni test: a connection for each transaction
	-4, -6          address family of the data connection

A list is output selectors with commas, a file with such, "all", or "?" to see
them. Sizes may end in K, M, G (powers of 1024) or k, m, g (of 1000).

The exit code is 0, 1 when a test failed, and 2 when the command line is wrong.
`

// ServerManual is that of netserver.
const ServerManual = `Netserver is the far end of netperf's tests.

	netserver [option...]

It serves the clients of this program and netperf 2.6 and 2.7, several at once,
in the foreground until it gets SIGINT or SIGTERM.

	-p port         to listen on (12865); 0 is any
	-L addr[,4|6]   address to listen on, all unless given
	-4, -6          IPv4 or IPv6 only
	-allow nets     clients that are served: networks (192.0.2.0/24) or
	                addresses, with commas; all unless given. Data connections
	                come from the client's own address or from one of these.
	-clients n      served at once (64); more wait
	-f              one client at a time
	-N              say nothing of what goes wrong with clients
	-D, -v n        taken, without effect
	-V              version
`
