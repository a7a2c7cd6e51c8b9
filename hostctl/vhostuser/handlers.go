package vhostuser

import (
	"encoding/binary"
	"fmt"
)

func (c *conn) ignore(*message) ([]byte, error) { return nil, nil }

func (c *conn) offered() uint64 {
	v := c.srv.dev.Features() | ringFeatures
	if c.offeredProtocol()&ProtocolLogShmfd != 0 {
		v |= FeatureLogAll
	}
	return v
}

func (c *conn) offeredProtocol() uint64 { return c.srv.dev.ProtocolFeatures() & ProtocolImplemented }

func (c *conn) getFeatures(*message) ([]byte, error) { return u64(c.offered()), nil }

func (c *conn) setFeatures(m *message) ([]byte, error) {
	v := m.u64(0)
	if extra := v &^ c.offered(); extra != 0 {
		return nil, fmt.Errorf("features %#x were not offered", extra)
	}
	if err := c.srv.dev.SetFeatures(v &^ FeatureLogAll); err != nil {
		return nil, err
	}
	logging := (c.features ^ v) & FeatureLogAll
	c.features = v
	if logging != 0 {
		return nil, c.relog()
	}
	return nil, nil
}

func (c *conn) getProtocolFeatures(*message) ([]byte, error) { return u64(c.offeredProtocol()), nil }

func (c *conn) setProtocolFeatures(m *message) ([]byte, error) {
	v := m.u64(0)
	if extra := v &^ c.offeredProtocol(); extra != 0 {
		return nil, fmt.Errorf("protocol features %#x were not offered", extra)
	}
	c.protocol = v
	return nil, nil
}

// getQueueNum counts pairs of rings for network devices, as QEMU and DPDK do.
func (c *conn) getQueueNum(*message) ([]byte, error) {
	n := len(c.rings)
	if _, ok := c.srv.dev.(NetDevice); ok {
		n /= 2
	}
	return u64(uint64(n)), nil
}

// getConfig replies with as many bytes as were asked for, or with an empty payload, which means an error.
func (c *conn) getConfig(m *message) ([]byte, error) {
	off, size, space := m.u32(0), m.u32(4), c.srv.dev.Config()
	if uint64(off)+uint64(size) > uint64(len(space)) || int(size) != len(m.payload)-configHeader {
		return []byte{}, nil
	}
	reply := append([]byte(nil), m.payload[:configHeader]...)
	return append(reply, space[off:off+size]...), nil
}

func (c *conn) getStatus(*message) ([]byte, error) { return u64(c.status), nil }

// setStatus stores the device status, which the front-end reads back. The rings are stopped by GET_VRING_BASE.
func (c *conn) setStatus(m *message) ([]byte, error) {
	if m.u64(0) > 0xff {
		return nil, fmt.Errorf("status %#x", m.u64(0))
	}
	c.status = m.u64(0)
	return nil, nil
}

func (c *conn) resetDevice(*message) ([]byte, error) {
	for _, r := range c.rings {
		r.stop()
		r.dropKick()
		r.forget()
		r.enabled, r.haveAddr, r.haveBase, r.logged, r.size, r.base = false, false, false, false, 0, 0
	}
	c.inflight.close()
	c.features, c.status = 0, 0
	return nil, nil
}

// ring returns the ring of an index that arrives wide: it is checked before it is narrowed (CVE-2020-10723).
func (c *conn) ring(index uint64) (*Ring, error) {
	if index >= uint64(len(c.rings)) {
		return nil, fmt.Errorf("vring %d of %d", index, len(c.rings))
	}
	return c.rings[index], nil
}

// vringState encodes the payload struct vring_state.
func vringState(index int, num uint32) []byte {
	b := binary.LittleEndian.AppendUint32(nil, uint32(index))
	return binary.LittleEndian.AppendUint32(b, num)
}
