package remote

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// Program is the name under which a copy of this program is the relay.
const Program = "picolab-relay"

// Kinds of messages that this package knows; all others are its users'.
const (
	KindFile  = "file"
	KindAlive = "alive" // nothing but a sign of life
)

// Limits of a stream, in bytes.
const (
	MaxLine = 32 << 20
	MaxFile = 4 << 30
)

// Message is one message. Its data, if it is a file, must be read before the next one.
type Message struct {
	Kind string          `json:"kind"`
	Body json.RawMessage `json:"body,omitempty"`
	Path string          `json:"path,omitempty"` // of a file, relative, with slashes
	Size int64           `json:"size,omitempty"` // of a file, in bytes

	data io.Reader
}

// Decode is json.Unmarshal of the body.
func (m Message) Decode(v any) error {
	if err := json.Unmarshal(m.Body, v); err != nil {
		return fmt.Errorf("decode message %q: %w", m.Kind, err)
	}
	return nil
}

// Writer writes a stream. It may be used by several goroutines.
type Writer struct {
	mu sync.Mutex
	w  *bufio.Writer
}

// NewWriter begins a stream on w.
func NewWriter(w io.Writer) *Writer { return &Writer{w: bufio.NewWriterSize(w, 64<<10)} }

// Send writes a message with v as its body; nil is none.
func (w *Writer) Send(kind string, v any) error {
	m := Message{Kind: kind}
	if v != nil {
		body, err := json.Marshal(v)
		if err != nil {
			return fmt.Errorf("encode message %q: %w", kind, err)
		}
		m.Body = body
	}
	return w.write(m, nil)
}

// SendFile writes the file at path under a name. A file that grows meanwhile is cut at the size it had.
func (w *Writer) SendFile(name, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("send file: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("send file: %w", err)
	}
	if !info.Mode().IsRegular() || info.Size() > MaxFile {
		return fmt.Errorf("send file %s: not a regular file of at most %d bytes", name, int64(MaxFile))
	}
	return w.write(Message{Kind: KindFile, Path: filepath.ToSlash(name), Size: info.Size()}, f)
}

func (w *Writer) write(m Message, file io.Reader) error {
	line, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("encode message %q: %w", m.Kind, err)
	}
	if len(line) >= MaxLine {
		return fmt.Errorf("encode message %q: %d bytes are over the limit", m.Kind, len(line))
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, err := w.w.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("write message: %w", err)
	}
	if file != nil {
		if _, err := io.CopyN(w.w, file, m.Size); err != nil { // the stream is out of step now: its reader will see the end
			return fmt.Errorf("send file %s: %w", m.Path, err)
		}
	}
	if err := w.w.Flush(); err != nil {
		return fmt.Errorf("write message: %w", err)
	}
	return nil
}

// Reader reads a stream.
type Reader struct {
	r    *bufio.Reader
	rest *io.LimitedReader // of the last message's file
}

// NewReader reads a stream from r.
func NewReader(r io.Reader) *Reader { return &Reader{r: bufio.NewReaderSize(r, 64<<10)} }

// Next returns the next message; io.EOF when the stream ended between two messages. What was not read of a file is
// skipped.
func (r *Reader) Next() (Message, error) {
	if r.rest != nil {
		if _, err := io.Copy(io.Discard, r.rest); err != nil {
			return Message{}, fmt.Errorf("skip file: %w", err)
		}
		if r.rest.N > 0 {
			return Message{}, fmt.Errorf("skip file: %w", io.ErrUnexpectedEOF)
		}
		r.rest = nil
	}
	line, err := r.line()
	if err != nil {
		return Message{}, err
	}
	var m Message
	if err := json.Unmarshal(line, &m); err != nil {
		return Message{}, fmt.Errorf("read message %.80q: %w", line, err)
	}
	return m, r.open(&m)
}

// line reads a line within the limit.
func (r *Reader) line() ([]byte, error) {
	var line []byte
	for {
		part, err := r.r.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case err == nil:
			return line, nil
		case len(line) > MaxLine:
			return nil, fmt.Errorf("read message: a line of more than %d bytes", MaxLine)
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF) && len(line) > 0:
			return nil, fmt.Errorf("read message %.80q: %w", line, io.ErrUnexpectedEOF)
		default:
			return nil, err
		}
	}
}

func (r *Reader) open(m *Message) error {
	switch {
	case m.Kind == "":
		return errors.New("read message: no kind")
	case m.Kind != KindFile:
		return nil
	case m.Size < 0 || m.Size > MaxFile:
		return fmt.Errorf("read message: a file of %d bytes", m.Size)
	case !filepath.IsLocal(filepath.FromSlash(m.Path)) || filepath.Clean(m.Path) == ".":
		return fmt.Errorf("read message: file name %q leads out of the folder", m.Path)
	}
	r.rest = &io.LimitedReader{R: r.r, N: m.Size}
	m.data = r.rest
	return nil
}

// Save writes the file that the message carries to path, making folders on the way. On an error what was read stays: half
// a capture tells more than none.
func (m Message) Save(path string) error {
	if m.data == nil {
		return fmt.Errorf("save %s: message %q carries no file", path, m.Kind)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("save file: %w", err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, fs.FileMode(0o644))
	if err != nil {
		return fmt.Errorf("save file: %w", err)
	}
	n, err := io.Copy(f, m.data)
	if err == nil && n < m.Size {
		err = io.ErrUnexpectedEOF
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("save file %s: %w", path, err)
	}
	return nil
}
