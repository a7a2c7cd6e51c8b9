// Package pcapng is a vale.Sink that writes what it is shown to a pcapng file, with an interface for each port and the
// direction of each frame. The switch never waits for the file: what the writer is too slow for is dropped and counted.
//
// Subset: section header, interface descriptions with name and nanosecond resolution, enhanced packets with flags; no
// statistics. Checksums and segmentation that are still to be done show as they are.
//
// Source: draft-ietf-opsawg-pcapng.
package pcapng

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"picolab/hostctl/vale"
)

const (
	blockSection   = 0x0a0d0d0a
	blockInterface = 1
	blockPacket    = 6
	ethernet       = 1 // link type
	inbound        = 1 // epb_flags; from the port's view of the switch
	outbound       = 2

	backlog = 4 << 20 // bytes that may wait for the file
)

// Writer is a vale.Sink. Take it off the switch before Close.
type Writer struct {
	out     io.Writer
	dropped atomic.Uint64

	mu      sync.Mutex
	ready   sync.Cond
	waiting []byte
	spare   []byte
	closed  bool
	err     error
	ports   map[string]uint32
	done    sync.WaitGroup
}

// New returns a writer to out, which stays the caller's.
func New(out io.Writer) *Writer {
	w := &Writer{out: out, ports: map[string]uint32{}}
	w.ready.L = &w.mu
	w.waiting = section(nil)
	w.done.Go(w.write)
	return w
}

// Close writes what waits, and returns the first error of writing.
func (w *Writer) Close() error {
	w.mu.Lock()
	w.closed = true
	w.ready.Signal()
	w.mu.Unlock()
	w.done.Wait()
	if w.err != nil {
		return fmt.Errorf("write capture: %w", w.err)
	}
	return nil
}

// Dropped returns the number of frames that were not written.
func (w *Writer) Dropped() uint64 { return w.dropped.Load() }

// Frame is what a switch calls.
func (w *Writer) Frame(port string, to bool, at time.Time, f *vale.Frame) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.waiting)+len(f.Data) > backlog || w.err != nil {
		w.dropped.Add(1)
		return
	}
	id, ok := w.ports[port]
	if !ok {
		id = uint32(len(w.ports))
		w.ports[port] = id
		w.waiting = description(w.waiting, port)
	}
	w.waiting = packet(w.waiting, id, to, at, f.Data)
	w.ready.Signal()
}

// write is the goroutine that waits for the file.
func (w *Writer) write() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for {
		for len(w.waiting) == 0 && !w.closed {
			w.ready.Wait()
		}
		if len(w.waiting) == 0 || w.err != nil {
			return
		}
		now := w.waiting
		w.waiting = w.spare[:0]
		w.mu.Unlock()
		_, err := w.out.Write(now)
		w.mu.Lock()
		w.spare, w.err = now, err
	}
}

// block appends a block whose body fn appends.
func block(b []byte, kind uint32, fn func([]byte) []byte) []byte {
	start := len(b)
	b = binary.LittleEndian.AppendUint32(b, kind)
	b = fn(append(b, 0, 0, 0, 0))
	size := uint32(len(b) - start + 4)
	binary.LittleEndian.PutUint32(b[start+4:], size)
	return binary.LittleEndian.AppendUint32(b, size)
}

func section(b []byte) []byte {
	return block(b, blockSection, func(b []byte) []byte {
		b = binary.LittleEndian.AppendUint32(b, 0x1a2b3c4d)
		b = append(b, 1, 0, 0, 0)                                  // version 1.0
		return binary.LittleEndian.AppendUint64(b, math.MaxUint64) // length not told
	})
}

func description(b []byte, port string) []byte {
	return block(b, blockInterface, func(b []byte) []byte {
		b = append(b, ethernet, 0, 0, 0, 0, 0, 0, 0) // no limit on length
		b = option(b, 2, []byte(port)[:min(len(port), 255)])
		b = option(b, 9, []byte{9}) // nanoseconds
		return option(b, 0, nil)
	})
}

func packet(b []byte, id uint32, to bool, at time.Time, data []byte) []byte {
	flags := []byte{inbound, 0, 0, 0}
	if to {
		flags[0] = outbound
	}
	return block(b, blockPacket, func(b []byte) []byte {
		ns := uint64(at.UnixNano())
		for _, v := range [...]uint32{id, uint32(ns >> 32), uint32(ns), uint32(len(data)), uint32(len(data))} {
			b = binary.LittleEndian.AppendUint32(b, v)
		}
		b = pad(append(b, data...), len(data))
		return option(option(b, 2, flags), 0, nil)
	})
}

func option(b []byte, code uint16, value []byte) []byte {
	b = binary.LittleEndian.AppendUint16(b, code)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(value)))
	return pad(append(b, value...), len(value))
}

// pad fills what has n bytes to a multiple of four.
func pad(b []byte, n int) []byte { return append(b, make([]byte, -n&3)...) }
