package netperf

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
)

// Port is where netserver listens unless told otherwise (IANA: netperf 12865/tcp).
const Port = 12865

// MessageSize is the length in bytes of every control message of netperf 2.6 and 2.7, both ways. Older programs use 256.
const MessageSize = 8 + 4*162

// Kinds of messages, word 0. An answer's kind is not looked at: the real netserver sends its results with a stale one.
const (
	kindDebugOn      = 1
	kindDebugOff     = 2
	kindDebugOK      = 3
	kindCPUCalibrate = 5
	kindOmni         = 97
	kindOmniResponse = 98
	kindOmniResults  = 99
)

// errUnknownTest is the second word of an answer to a request that the server does not know.
const errUnknownTest = 998

// Message is a control message. Words are big-endian 32-bit values and follow a header of two words; text is raw bytes
// at an offset from the start of the message. Accessors panic when given a constant out of range.
type Message [MessageSize]byte

// Kind is word 0 of the header.
func (m *Message) Kind() int32 { return m.header(0) }

// Status is word 1 of the header: in a request the CPU to run on (-1: any), in an answer 0, an errno or 998.
func (m *Message) Status() int32 { return m.header(1) }

func (m *Message) header(i int) int32 { return int32(binary.BigEndian.Uint32(m[4*i:])) }

func (m *Message) setHeader(kind, status int32) {
	binary.BigEndian.PutUint32(m[0:], uint32(kind))
	binary.BigEndian.PutUint32(m[4:], uint32(status))
}

// word is data word i, 0 to 161.
func (m *Message) word(i int) int32 { return int32(binary.BigEndian.Uint32(m[8+4*i:])) }

func (m *Message) setWord(i int, v int32) { binary.BigEndian.PutUint32(m[8+4*i:], uint32(v)) }

func (m *Message) setWords(i int, values ...int32) {
	for n, v := range values {
		m.setWord(i+n, v)
	}
}

// float is data word i as an IEEE 754 single.
func (m *Message) float(i int) float64 { return float64(math.Float32frombits(uint32(m.word(i)))) }

func (m *Message) setFloat(i int, v float64) { m.setWord(i, int32(math.Float32bits(float32(v)))) }

// wide is a 64-bit count in words i (high) and i+1 (low).
func (m *Message) wide(i int) uint64 {
	return uint64(uint32(m.word(i)))<<32 | uint64(uint32(m.word(i+1)))
}

func (m *Message) setWide(i int, v uint64) { m.setWords(i, int32(v>>32), int32(v)) }

// text is the string in the n bytes at byte offset at, without what follows its first NUL, and without bytes that
// are not printable ASCII: it comes from a peer and goes to terminals.
func (m *Message) text(at, n int) string {
	var out []byte
	for _, c := range m[at : at+n-1] { // the last is the NUL's
		if c == 0 {
			break
		}
		if c > ' ' && c < 0x7f {
			out = append(out, c)
		}
	}
	return string(out)
}

// setText stores s, cut so that a NUL follows it inside its n bytes.
func (m *Message) setText(at, n int, s string) {
	field := m[at : at+n]
	clear(field)
	copy(field[:n-1], s)
}

// read fills m. io.EOF means that nothing came; anything between nothing and a whole message is io.ErrUnexpectedEOF.
func (m *Message) read(r io.Reader) error {
	_, err := io.ReadFull(r, m[:])
	return err
}

func (m *Message) write(w io.Writer) error {
	if _, err := w.Write(m[:]); err != nil {
		return fmt.Errorf("send control message: %w", err)
	}
	return nil
}
