package xdp

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
)

// redirect is the program that gives the sockets their frames.
type redirect struct {
	sockets *ebpf.Map
	program *ebpf.Program
	link    link.Link
}

// newRedirect loads the program and attaches it, to the driver if it can run programs.
func newRedirect(ifindex int, queues []*queue) (_ *redirect, err error) {
	r := &redirect{}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.Close())
		}
	}()
	if err := r.load(queues); err != nil {
		return nil, err
	}
	o := link.XDPOptions{Program: r.program, Interface: ifindex, Flags: link.XDPDriverMode}
	if r.link, err = link.AttachXDP(o); err == nil {
		return r, nil
	}
	o.Flags = link.XDPGenericMode
	if r.link, err = link.AttachXDP(o); err != nil {
		return nil, fmt.Errorf("attach XDP program: %w", err)
	}
	return r, nil
}

func (r *redirect) load(queues []*queue) (err error) {
	r.sockets, err = ebpf.NewMap(&ebpf.MapSpec{
		Name: "pktgen_xsks", Type: ebpf.XSKMap, KeySize: 4, ValueSize: 4, MaxEntries: uint32(len(queues)),
	})
	if err != nil {
		return fmt.Errorf("make XDP socket map: %w", err)
	}
	for _, q := range queues {
		if err := r.sockets.Put(uint32(q.number), uint32(q.fd)); err != nil {
			return fmt.Errorf("put socket into XDP map: %w", err)
		}
	}
	r.program, err = ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: "pktgen_redirect", Type: ebpf.XDP, License: "Dual BSD/GPL", Instructions: redirectCode(r.sockets.FD()),
	})
	if err != nil {
		return fmt.Errorf("load XDP program: %w", err)
	}
	return nil
}

// Of struct xdp_md and enum xdp_action (linux/bpf.h).
const (
	rxQueueIndex = 16
	actionPass   = 2
)

// redirectCode is: return bpf_redirect_map(&sockets, ctx->rx_queue_index, XDP_PASS).
func redirectCode(sockets int) asm.Instructions {
	return asm.Instructions{
		asm.LoadMem(asm.R2, asm.R1, rxQueueIndex, asm.Word),
		asm.LoadMapPtr(asm.R1, sockets),
		asm.Mov.Imm(asm.R3, actionPass),
		asm.FnRedirectMap.Call(),
		asm.Return(),
	}
}

// Close detaches the program.
func (r *redirect) Close() error {
	var err error
	if r.link != nil {
		err = r.link.Close()
	}
	if r.program != nil {
		err = errors.Join(err, r.program.Close())
	}
	if r.sockets != nil {
		err = errors.Join(err, r.sockets.Close())
	}
	return err
}
