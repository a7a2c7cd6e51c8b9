package verbs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"

	"picolab/guestagent/wire"

	"golang.org/x/sys/unix"
)

const (
	kmsg     = "/dev/kmsg"
	maxLines = 64 // in one message; the kernel cuts a record at 8 KiB
)

// Dmesg implements wire.AgentService: the kernel log through /dev/kmsg (Documentation/ABI/testing/dev-kmsg).
func (v *Verbs) Dmesg(ctx context.Context, ss wire.Agent_DmesgServer) error {
	m, err := ss.Recv()
	if err != nil {
		return err
	}
	start := m.GetStart()
	if start == nil {
		return unexpected("dmesg")
	}
	f, err := openLog(start.NewOnly)
	if err != nil {
		return err
	}
	defer f.Close()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(ctx, func() { f.Close() })()
	d := &logReader{ctx: ctx, ss: ss, credit: wire.NewCredit(), f: f}
	go watch(cancel, ss, func(m *wire.DmesgInput) error { return d.credit.Give(m.GetAck()) }) // ends with the stream
	return orCause(ctx, d.run(start.Follow))
}

func openLog(newOnly bool) (*os.File, error) {
	fd, err := unix.Open(kmsg, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOENT) {
		return nil, wire.Errorf(wire.Code_UNSUPPORTED, "open %s: %w", kmsg, err)
	}
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", kmsg, err)
	}
	if newOnly {
		if _, err := unix.Seek(fd, 0, io.SeekEnd); err != nil {
			unix.Close(fd)
			return nil, fmt.Errorf("seek %s: %w", kmsg, err)
		}
	}
	return os.NewFile(uintptr(fd), kmsg), nil
}

// logReader is one running Dmesg.
type logReader struct {
	ctx    context.Context
	ss     wire.Agent_DmesgServer
	credit *wire.Credit
	f      *os.File
}

// run sends lines in batches: all that are there, then, when following, what comes.
func (d *logReader) run(follow bool) error {
	rc, err := d.f.SyscallConn()
	if err != nil {
		return fmt.Errorf("read %s: %w", kmsg, err)
	}
	buf := make([]byte, 16<<10)
	for {
		out, err := d.batch(rc, buf)
		if err == nil && len(out.Lines) > 0 {
			if err = d.credit.Take(d.ctx); err == nil {
				err = d.ss.Send(out)
			}
		}
		if err != nil {
			return err
		}
		if len(out.Lines) == maxLines {
			continue
		}
		if !follow {
			return nil
		}
		if err := d.wait(rc); err != nil {
			return err
		}
	}
}

// batch reads what is there, up to maxLines.
func (d *logReader) batch(rc syscall.RawConn, buf []byte) (*wire.DmesgOutput, error) {
	out := new(wire.DmesgOutput)
	for len(out.Lines) < maxLines {
		var n int
		var err error
		if cerr := rc.Control(func(fd uintptr) { n, err = unix.Read(int(fd), buf) }); cerr != nil {
			return out, cerr
		}
		switch {
		case errors.Is(err, unix.EAGAIN):
			return out, nil
		case errors.Is(err, unix.EPIPE), errors.Is(err, unix.EINTR): // the oldest records were overwritten: on with the next
			continue
		case err != nil:
			return out, fmt.Errorf("read %s: %w", kmsg, err)
		}
		if l, ok := parseRecord(buf[:n]); ok {
			out.Lines = append(out.Lines, l)
		}
	}
	return out, nil
}

// wait returns when there is a record, without reading it.
func (d *logReader) wait(rc syscall.RawConn) error {
	return rc.Read(func(fd uintptr) bool {
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(p, 0)
		return err == nil && n > 0
	})
}

// parseRecord reads "priority,sequence,microseconds,flags[,...];text\n KEY=value\n...".
func parseRecord(b []byte) (*wire.DmesgLine, bool) {
	head, text, ok := bytes.Cut(b, []byte{';'})
	f := strings.Split(string(head), ",")
	if !ok || len(f) < 3 {
		return nil, false
	}
	var n [3]int64
	for i := range n {
		v, err := strconv.ParseInt(f[i], 10, 64)
		if err != nil {
			return nil, false
		}
		n[i] = v
	}
	line, _, _ := bytes.Cut(text, []byte{'\n'})
	return &wire.DmesgLine{Priority: int32(n[0]), Sequence: n[1], TimestampUs: n[2], Text: unescape(string(line))}, true
}

// unescape undoes the kernel's \xNN.
func unescape(s string) string {
	var b strings.Builder
	for len(s) > 0 {
		if strings.HasPrefix(s, `\x`) && len(s) >= 4 {
			if v, err := strconv.ParseUint(s[2:4], 16, 8); err == nil {
				b.WriteByte(byte(v))
				s = s[4:]
				continue
			}
		}
		b.WriteByte(s[0])
		s = s[1:]
	}
	return strings.ToValidUTF8(b.String(), "\ufffd")
}
