package pktgen

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"picolab/guestagent/load/pcapng"
)

// replayer sends the frames of a capture, thread i of n those whose number is i modulo n.
type replayer struct {
	r       *Replay
	at      int
	first   int
	step    int
	started time.Time
}

func newReplayer(r *Replay, i, n int) *replayer { return &replayer{r: r, at: i, first: i, step: n} }

// next returns -1 after the last frame of a replay that is not repeated.
func (p *replayer) next(buf []byte) int {
	if p.at >= len(p.r.Frames) {
		if p.r.Once || p.first >= len(p.r.Frames) {
			return -1
		}
		p.at, p.started = p.first, time.Time{}
	}
	if p.r.Times != nil {
		p.hold(p.r.Times[p.at])
	}
	n := copy(buf, p.r.Frames[p.at])
	p.at += p.step
	return n
}

// hold waits until the time of a frame.
func (p *replayer) hold(t time.Duration) {
	if p.started.IsZero() {
		p.started = time.Now().Add(-t)
	}
	if d := time.Until(p.started.Add(t)); d > 0 {
		nanosleep(d)
	}
}

// Magic numbers of capture files: pcap (draft-ietf-opsawg-pcap) with times in us and ns, and pcapng.
const (
	magicMicro  = 0xa1b2c3d4
	magicNano   = 0xa1b23c4d
	magicPcapng = 0x0a0d0d0a

	linkEthernet = 1
	maxReplay    = 1 << 30 // bytes of frames kept in memory
)

// ReadReplay reads the frames of a pcap or pcapng file, with their times when timed is set.
func ReadReplay(path string, timed bool) (Replay, error) {
	f, err := os.Open(path)
	if err != nil {
		return Replay{}, err
	}
	defer f.Close()
	r, err := readReplay(bufio.NewReaderSize(f, 1<<16))
	if err != nil {
		return Replay{}, fmt.Errorf("read %s: %w", path, err)
	}
	if !timed {
		r.Times = nil
	}
	return r, nil
}

func readReplay(b *bufio.Reader) (Replay, error) {
	head, err := b.Peek(4)
	if err != nil {
		return Replay{}, errors.New("no capture file: too short")
	}
	next, err := packets(b, binary.LittleEndian.Uint32(head))
	if err != nil {
		return Replay{}, err
	}
	var r Replay
	var start time.Time
	for total := 0; ; {
		data, at, err := next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return r, fmt.Errorf("packet %d: %w", len(r.Frames)+1, err)
		}
		if total += len(data); total > maxReplay || len(data) > MaxFrame {
			return r, fmt.Errorf("packet %d: longer than %d bytes, or all longer than %d", len(r.Frames)+1, MaxFrame, maxReplay)
		}
		if start.IsZero() {
			start = at
		}
		r.Frames = append(r.Frames, append([]byte{}, data...))
		r.Times = append(r.Times, max(at.Sub(start), 0))
	}
	if len(r.Frames) == 0 {
		return r, errors.New("no packets in it")
	}
	return r, nil
}

// packets returns the reader for a file that starts with magic.
func packets(b *bufio.Reader, magic uint32) (func() ([]byte, time.Time, error), error) {
	if magic == magicPcapng {
		r := pcapng.NewReader(b)
		return func() ([]byte, time.Time, error) {
			p, err := r.Next()
			return p.Data, p.Time, err
		}, nil
	}
	for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
		var raw [4]byte
		binary.LittleEndian.PutUint32(raw[:], magic)
		if m := order.Uint32(raw[:]); m == magicMicro || m == magicNano {
			return classic(b, order, m == magicNano)
		}
	}
	return nil, errors.New("no capture file: neither pcap nor pcapng")
}

// classic reads pcap files.
func classic(b *bufio.Reader, order binary.ByteOrder, nano bool) (func() ([]byte, time.Time, error), error) {
	var head [24]byte
	if _, err := io.ReadFull(b, head[:]); err != nil {
		return nil, io.ErrUnexpectedEOF
	}
	if link := order.Uint32(head[20:]) & 0xffff; link != linkEthernet {
		return nil, fmt.Errorf("link type %d, not Ethernet", link)
	}
	unit := time.Microsecond
	if nano {
		unit = time.Nanosecond
	}
	return func() ([]byte, time.Time, error) {
		var h [16]byte
		if _, err := io.ReadFull(b, h[:]); err != nil {
			return nil, time.Time{}, err // io.EOF between packets is the end
		}
		n := order.Uint32(h[8:])
		if n > pcapng.MaxPacket {
			return nil, time.Time{}, fmt.Errorf("%d bytes long", n)
		}
		data := make([]byte, n)
		if _, err := io.ReadFull(b, data); err != nil {
			return nil, time.Time{}, io.ErrUnexpectedEOF
		}
		return data, time.Unix(int64(order.Uint32(h[:])), int64(order.Uint32(h[4:]))*int64(unit)), nil
	}, nil
}
