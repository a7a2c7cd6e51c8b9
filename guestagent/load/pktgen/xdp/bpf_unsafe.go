package xdp

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// bpf is bpf(2); its descriptors are closed by execve anyway.
func bpf(command int, attributes []byte) (int, error) {
	n, _, e := syscall.Syscall(unix.SYS_BPF, uintptr(command), uintptr(unsafe.Pointer(&attributes[0])), uintptr(len(attributes)))
	if e != 0 {
		return -1, e
	}
	return int(n), nil
}

// address is that of memory which must be kept alive until the call has returned.
func address(b []byte) uint64 { return uint64(uintptr(unsafe.Pointer(&b[0]))) }

// putSocket sets an entry of the map.
func putSocket(sockets int, key, value uint32) error {
	k, v := words(key), words(value)
	a := words(uint32(sockets), 0)
	for _, p := range []uint64{address(k), address(v), unix.BPF_ANY} {
		a = binary.NativeEndian.AppendUint64(a, p)
	}
	_, err := bpf(unix.BPF_MAP_UPDATE_ELEM, a)
	runtime.KeepAlive(k)
	runtime.KeepAlive(v)
	return err
}

// loadProgram loads an XDP program; an error tells what the kernel's verifier said.
func loadProgram(code []byte) (int, error) {
	license, log := []byte("Dual BSD/GPL\x00"), make([]byte, 4096)
	a := words(unix.BPF_PROG_TYPE_XDP, uint32(len(code)/8))
	a = binary.NativeEndian.AppendUint64(a, address(code))
	a = binary.NativeEndian.AppendUint64(a, address(license))
	a = append(a, words(1, uint32(len(log)))...)
	a = binary.NativeEndian.AppendUint64(a, address(log))
	a = append(a, words(0, 0)...)
	a = append(a, "pktgen_redirect\x00"...)
	a = append(a, words(0, unix.BPF_XDP)...)
	fd, err := bpf(unix.BPF_PROG_LOAD, a)
	runtime.KeepAlive(code)
	runtime.KeepAlive(license)
	text, _, _ := strings.Cut(string(log), "\x00")
	if err != nil && text != "" {
		err = fmt.Errorf("%w: %s", err, strings.TrimSpace(text))
	}
	return fd, err
}
