package xdp

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// redirect is the program that gives the sockets their frames. It is six instructions, loaded by bpf(2) itself: a library
// for that would be a third of a megabyte in an image that a guest boots from.
type redirect struct {
	descriptors []int // map, program, link
}

// newRedirect loads the program and attaches it, to the driver if it can run programs. A link needs Linux 5.9.
func newRedirect(ifindex int, queues []*queue) (_ *redirect, err error) {
	r := &redirect{}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.Close())
		}
	}()
	sockets, err := r.call(unix.BPF_MAP_CREATE, words(unix.BPF_MAP_TYPE_XSKMAP, 4, 4, uint32(len(queues))))
	if err != nil {
		return nil, fmt.Errorf("make XDP socket map: %w", err)
	}
	for _, q := range queues {
		if err := putSocket(sockets, uint32(q.number), uint32(q.fd)); err != nil {
			return nil, fmt.Errorf("put socket into XDP map: %w", err)
		}
	}
	program, err := loadProgram(redirectCode(sockets))
	if err != nil {
		return nil, fmt.Errorf("load XDP program: %w", err)
	}
	r.descriptors = append(r.descriptors, program)
	for _, mode := range []uint32{unix.XDP_FLAGS_DRV_MODE, unix.XDP_FLAGS_SKB_MODE} {
		if _, err = r.call(unix.BPF_LINK_CREATE, words(uint32(program), uint32(ifindex), unix.BPF_XDP, mode)); err == nil {
			return r, nil
		}
	}
	return nil, fmt.Errorf("attach XDP program: %w", err)
}

// call makes an object of the kernel's, which Close gives back.
func (r *redirect) call(command int, attributes []byte) (int, error) {
	fd, err := bpf(command, attributes)
	if err == nil {
		r.descriptors = append(r.descriptors, fd)
	}
	return fd, err
}

// words encodes the 32-bit fields that union bpf_attr begins with (linux/bpf.h).
func words(values ...uint32) []byte {
	var b []byte
	for _, v := range values {
		b = binary.NativeEndian.AppendUint32(b, v)
	}
	return b
}

// Of struct xdp_md and enum xdp_action, and instructions (linux/bpf.h, Documentation/bpf/standardization).
const (
	rxQueueIndex = 16
	actionPass   = 2

	loadWord     = unix.BPF_LDX | unix.BPF_MEM | unix.BPF_W
	loadDouble   = unix.BPF_LD | unix.BPF_IMM | unix.BPF_DW
	move         = unix.BPF_ALU64 | unix.BPF_MOV | unix.BPF_K
	call         = unix.BPF_JMP | unix.BPF_CALL
	exit         = unix.BPF_JMP | unix.BPF_EXIT
	pseudoMapFD  = unix.BPF_PSEUDO_MAP_FD
	redirectCall = 51 // BPF_FUNC_redirect_map
)

// redirectCode is: return bpf_redirect_map(&sockets, ctx->rx_queue_index, XDP_PASS).
func redirectCode(sockets int) []byte {
	var b []byte
	add := func(code, dst, src byte, off int16, imm int32) {
		b = append(b, code, src<<4|dst)
		b = binary.NativeEndian.AppendUint16(b, uint16(off))
		b = binary.NativeEndian.AppendUint32(b, uint32(imm))
	}
	add(loadWord, 2, 1, rxQueueIndex, 0)
	add(loadDouble, 1, pseudoMapFD, 0, int32(sockets))
	add(0, 0, 0, 0, 0) // the upper half
	add(move, 3, 0, 0, actionPass)
	add(call, 0, 0, 0, redirectCall)
	add(exit, 0, 0, 0, 0)
	return b
}

// Close detaches the program: the last descriptor first.
func (r *redirect) Close() error {
	var err error
	for i := len(r.descriptors) - 1; i >= 0; i-- {
		err = errors.Join(err, unix.Close(r.descriptors[i]))
	}
	r.descriptors = nil
	return err
}
