package capture

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"picolab/guestagent/load/pcapng"
)

// FileOptions say where a capture is written to.
type FileOptions struct {
	Name    string // "-" is Stdout; with Every, strftime(3)'s letters are replaced: %Y %m %d %H %M %S %s %F %T %j %y
	Stdout  io.Writer
	Link    string // named in the files
	Snaplen int
	Size    int64         // bytes after which the next file begins; 0: never
	Every   time.Duration // after which the next file begins; 0: never
	Count   int           // with Size: files are a ring of so many; with Every alone: the capture ends after so many
}

// Files is a Sink that writes pcapng files, one after the other, named as tcpdump -C, -G and -W name them. Each is whole
// by itself; the last one has the count of dropped frames.
type Files struct {
	o     FileOptions
	names []string // written so far, without repeats
	n     int
	began time.Time

	file    *os.File // nil: Stdout
	buf     *bufio.Writer
	w       *pcapng.Writer
	size    int64
	packets uint64
}

// Create makes the first file.
func Create(o FileOptions) (*Files, error) {
	f := &Files{o: o}
	if o.Name == "-" && (o.Size > 0 || o.Every > 0) {
		return nil, errors.New("capture: the standard output cannot be several files")
	}
	return f, f.open(time.Now())
}

// Names are those of the files so far.
func (f *Files) Names() []string { return f.names }

func (f *Files) open(now time.Time) (err error) {
	out := f.o.Stdout
	if f.o.Name != "-" {
		name := f.name(now)
		if f.file, err = os.Create(name); err != nil {
			return fmt.Errorf("capture: %w", err)
		}
		out = f.file
		f.note(name)
	}
	f.began, f.size, f.packets = now, 0, 0
	f.buf = bufio.NewWriterSize(&counting{out, &f.size}, 64<<10)
	f.w, err = pcapng.NewWriter(f.buf, f.o.Link, f.o.Snaplen)
	return err
}

func (f *Files) note(name string) {
	for _, n := range f.names {
		if n == name {
			return
		}
	}
	f.names = append(f.names, name)
}

// counting counts the bytes that pass.
type counting struct {
	w io.Writer
	n *int64
}

func (c *counting) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	*c.n += int64(n)
	return n, err
}

// name is that of file n.
func (f *Files) name(now time.Time) string {
	name := f.o.Name
	if f.o.Every > 0 {
		name = strftime(name, now)
	}
	switch {
	case f.o.Size <= 0:
		return name
	case f.o.Count > 0:
		return fmt.Sprintf("%s%0*d", name, len(strconv.Itoa(f.o.Count-1)), f.n%f.o.Count)
	case f.n == 0:
		return name
	}
	return name + strconv.Itoa(f.n)
}

// strftime replaces the letters of strftime(3) that a file name is likely to have.
func strftime(format string, t time.Time) string {
	layouts := map[byte]string{
		'Y': "2006", 'm': "01", 'd': "02", 'H': "15", 'M': "04", 'S': "05", 'y': "06", 'j': "002", 'F': "2006-01-02", 'T': "15:04:05",
	}
	var b strings.Builder
	for i := 0; i < len(format); i++ {
		if format[i] != '%' || i+1 == len(format) {
			b.WriteByte(format[i])
			continue
		}
		i++
		switch layout, ok := layouts[format[i]]; {
		case ok:
			b.WriteString(t.Format(layout))
		case format[i] == 's':
			b.WriteString(strconv.FormatInt(t.Unix(), 10))
		case format[i] == '%':
			b.WriteByte('%')
		default:
			b.WriteString(format[i-1 : i+1])
		}
	}
	return b.String()
}

// Write implements Sink.
func (f *Files) Write(p pcapng.Packet) error {
	now := time.Now()
	full := f.o.Size > 0 && f.size+int64(f.buf.Buffered()) > f.o.Size
	old := f.o.Every > 0 && now.Sub(f.began) >= f.o.Every
	if full || old {
		if err := f.rotate(now); err != nil {
			return err
		}
	}
	f.packets++
	return f.w.Write(p)
}

func (f *Files) rotate(now time.Time) error {
	if f.n++; f.o.Every > 0 && f.o.Size <= 0 && f.o.Count > 0 && f.n >= f.o.Count {
		return ErrEnough
	}
	if err := f.finish(0); err != nil {
		return err
	}
	return f.open(now)
}

// Flush implements Sink.
func (f *Files) Flush() error {
	if err := f.buf.Flush(); err != nil {
		return fmt.Errorf("write capture: %w", err)
	}
	return nil
}

// Close ends the last file. It may be called again.
func (f *Files) Close(dropped int64) error {
	if f.buf == nil {
		return nil
	}
	err := f.finish(uint64(dropped))
	f.buf = nil
	return err
}

func (f *Files) finish(dropped uint64) error {
	err := errors.Join(f.w.Close(f.packets+dropped, dropped), f.Flush())
	if f.file != nil {
		err = errors.Join(err, f.file.Close())
		f.file = nil
	}
	return err
}
