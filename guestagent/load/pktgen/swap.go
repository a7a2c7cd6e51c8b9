package pktgen

// answerable frames carry UDP; others, of the host's own making, would only be returned to it.
func answerable(frame []byte) bool {
	_, ok := parse(frame)
	return ok
}

// SwapMACs swaps the Ethernet addresses of a frame.
func SwapMACs(f []byte) {
	if len(f) >= ethernetLen {
		swap(f[:6], f[6:12])
	}
}

// SwapAddresses swaps the Ethernet and the IP addresses of a frame; no checksum changes by that. Ports stay, as they do
// in the original.
func SwapAddresses(f []byte) {
	SwapMACs(f)
	if d, ok := parse(f); ok {
		swap(d.src, d.dst)
	}
}

func swap(a, b []byte) {
	for i := range a {
		a[i], b[i] = b[i], a[i]
	}
}
