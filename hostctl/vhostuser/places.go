package vhostuser

import (
	"encoding/binary"
	"fmt"
	"os"

	"picolab/hostctl/vhostuser/guestmem"
	"picolab/hostctl/vhostuser/virtq"
)

// A record of Options.Places, for each ring: the place, then the address of its descriptors by which the ring is known again.
const (
	recordSize = 64
	recordKey  = virtq.PlaceSize
)

// openPlaces maps the file of places, which it makes where there is none.
func openPlaces(path string, rings int) (*guestmem.Shared, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open places: %w", err)
	}
	defer f.Close()
	if err := f.Truncate(int64(rings * recordSize)); err != nil {
		return nil, fmt.Errorf("open places: %w", err)
	}
	mem, err := guestmem.Map(int(f.Fd()), uint64(rings*recordSize), 0)
	if err != nil {
		return nil, fmt.Errorf("open places: %w", err)
	}
	return mem, nil
}

// place returns where the ring notes its place: in the front-end's region or in our file, if there is either.
func (r *Ring) place() []byte {
	if p := r.conn.inflight.place(r.index); p != nil {
		return p
	}
	b := r.record()
	if b == nil {
		return nil
	}
	if binary.LittleEndian.Uint64(b[recordKey:]) != r.desc {
		clear(b)
		binary.LittleEndian.PutUint64(b[recordKey:], r.desc)
	}
	return b[:virtq.PlaceSize]
}

func (r *Ring) record() []byte {
	if r.conn.srv.places == nil {
		return nil
	}
	return r.conn.srv.places.Bytes()[r.index*recordSize:][:recordSize]
}

// forget is for a ring whose place the front-end knows now, or that there is no more.
func (r *Ring) forget() {
	if b := r.record(); b != nil {
		clear(b)
	}
}
