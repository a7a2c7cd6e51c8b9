package catalogue

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"picolab/guestagent/client"
	"picolab/hostctl/lab"
)

// File is generated data that the host side serves over HTTP.
type File struct {
	URL    string
	Bytes  int64
	SHA256 string

	sent atomic.Int64
}

// Sent is how much of it has left the host, in bytes; what was asked for twice counts twice.
func (f *File) Sent() int64 { return f.sent.Load() }

// Serve has the host side of a link serve generated data, with ranges, until the instance ends.
func (t *T) Serve(link string, bytes int64) *File {
	l, err := t.lab.Listen(t.Context(), link)
	if err != nil {
		t.Errorf("host: listen on link %s: %v", link, err)
	}
	f := &File{URL: "http://" + l.Addr().String() + "/archive", Bytes: bytes}
	data := generated{seed: streamSeed(t.in.ID())}
	h := sha256.New()
	io.Copy(h, io.NewSectionReader(data, 0, bytes)) // neither end fails
	f.SHA256 = hex.EncodeToString(h.Sum(nil))
	s := &http.Server{ReadHeaderTimeout: t.Timeout(lab.WaitTransfer), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(&counting{w, &f.sent}, r, "", time.Time{}, io.NewSectionReader(data, 0, bytes))
	})}
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.Serve(l) // until it is closed
	}()
	t.Cleanup(func() {
		s.Close()
		<-done
	})
	return f
}

// counting counts what is written of answers.
type counting struct {
	http.ResponseWriter
	sent *atomic.Int64
}

func (c *counting) Write(p []byte) (int, error) {
	n, err := c.ResponseWriter.Write(p)
	c.sent.Add(int64(n))
	return n, err
}

// generated is an endless file of bytes that look random and are the same for the same seed: word i is the i-th of
// splitmix64.
type generated struct{ seed uint64 }

// ReadAt implements io.ReaderAt.
func (g generated) ReadAt(p []byte, at int64) (int, error) {
	n := len(p)
	var word [8]byte
	for len(p) > 0 {
		binary.LittleEndian.PutUint64(word[:], splitmix64(g.seed+uint64(at)/8))
		k := copy(p, word[at%8:])
		p, at = p[k:], at+int64(k)
	}
	return n, nil
}

func splitmix64(i uint64) uint64 {
	z := (i + 1) * 0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// Fetched is what a guest says of a download.
type Fetched struct {
	Bytes   int64   `json:"bytes"`
	SHA256  string  `json:"sha256"`
	Retries int     `json:"retries"`
	Seconds float64 `json:"seconds"`
}

// Fetch downloads a file in the guest by several connections at a time, trying again what breaks off until limit, and
// stores it in memory.
func (n *Node) Fetch(f *File, connections int, limit time.Duration) Fetched {
	argv := []string{"fetch", "-k", fmt.Sprint(connections), "-w", fmt.Sprint(n.t.Timeout(lab.WaitLink).Seconds() / 5),
		"-W", fmt.Sprint(limit.Seconds()), "-o", "/tmp/archive", f.URL}
	out := n.command(limit, argv...)
	var got Fetched
	if err := json.Unmarshal(out, &got); err != nil {
		n.t.Errorf("%s: fetch: %v: %q", n.name, err, out)
	}
	return got
}

// command runs a program of the guest that may take so long, and returns what it prints; its failure is the guest's.
func (n *Node) command(limit time.Duration, argv ...string) []byte {
	n.did("%s", strings.Join(argv, " "))
	out := ask(n, "run "+argv[0], lab.WaitAgent, limit, func(ctx context.Context) (client.Output, error) {
		return n.agent.Run(ctx, argv...)
	})
	if out.ExitCode != 0 {
		n.t.Fatalf("%s: %s: exit code %d: %s", n.name, argv[0], out.ExitCode, out.Stderr)
	}
	return out.Stdout
}
