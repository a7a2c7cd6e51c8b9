package pktgen

// Manual is what pkt-gen --help prints.
const Manual = `Usage: pkt-gen -i port [-f function] [option...]

Generates, receives and times Ethernet frames, as netmap's pkt-gen does.

  -i port       eth0         a network interface, by AF_XDP if the system has
                             it, else AF_PACKET
                packet:eth0  by AF_PACKET
                xdp:eth0     by AF_XDP
                tap:tap0     the other end of a tap device, made when missing
                netmap:eth0  by netmap, any of its port names
                memif:PATH[,server][,id=N][,secret=S][,size=N]  shared memory,
                             with DPDK, VPP, or another pkt-gen
                vhost:PATH[,server][,packed][,size=N]  virtio-net whose device
                             is a vhost-user back-end: a switch, DPDK
                vale0:01[,control=PATH][,size=N]  a new port of a switch of
                             hostctl switch (/run/vale.sock), or of netmap's
  -f function   tx, rx (default), txseq, rxseq, ping, pong
  -n count      frames to send or receive, round trips of ping; 0 (default):
                until interrupted
  -t count      the same, and -f tx
  -l size       bytes of a frame without the CRC (60; 74 of IPv6). Twice, or
                size,min: random sizes from the smaller up to below the larger
  -4, -6        IPv4 (default), IPv6
  -d dst[:port][-dst[:port]]  destination address and port, or a range that is
  -s src[:port][-src[:port]]  walked through, ports first (10.1.0.1:1234 and
                10.0.0.1:1234; fd01::1 and fd00::1). IPv6: [group@][addr]:port,
                group 0-7 (7) being the 16 bits that are counted
  -D mac        destination (ff:ff:ff:ff:ff:ff)
  -S mac        source (the port's)
  -z, -Z        random source, random destination address and port
  -b burst      frames at a time (512; 1 of ping and pong)
  -R rate       frames per second of all threads; bursts are at most a 300th
  -p threads    (1) each has its queues
  -a cpu        of the first thread; the others have the next ones
  -c cpus       that threads are spread over (1; 0: all)
  -w secs       to wait for the link (2; 0 for ports without a PHY)
  -W            receivers end after a second of silence, once frames came
  -T ms         between reports (1000)
  -X            dump every frame
  -r            rubbish: send what the buffers hold
  -P file       send the packets of a pcap or pcapng file, over and over
  --timed       with the time between them that the file tells
  --once        once
  -A            mean and deviation of the rate over the last 15 reports
  -B            count 24 bytes of framing and CRC in bandwidths
  -N            plain numbers, without K, M, G
  -o bits       64 as -X, 256 as -r, 512 as -z, 1024 as -Z, 2048 as -A; 1, 2, 4,
                8 and 4096 are taken without effect
  -C config     taken without effect
  -v            taken without effect
  --json        one object a line on the output: start, intervals, summary
  -h, --help    this text

Not here: -F, -M, -I, -H, which are about slots of netmap.

txseq numbers the frames and gives them a hash; rxseq tells what was lost, came
late or twice, or was changed. ping and pong measure round trips.

The exit code is 0, also when interrupted, 1 when a test failed, and 2 when the
command line is wrong.
`
