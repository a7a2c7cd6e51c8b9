package verbs

import (
	"context"
	"crypto/sha256"
	"errors"
	"hash"
	"io"
	"os"
	"path/filepath"

	"picolab/guestagent/wire"

	"golang.org/x/sys/unix"
)

// Get implements wire.AgentService.
func (v *Verbs) Get(ctx context.Context, ss wire.Agent_GetServer) error {
	m, err := ss.Recv()
	if err != nil {
		return err
	}
	start := m.GetStart()
	if start == nil {
		return unexpected("get")
	}
	path, err := absolute(start.Path)
	if err != nil {
		return err
	}
	// without O_NONBLOCK the open of a FIFO would wait for its writer, out of our hands
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := context.AfterFunc(ctx, func() { f.Close() })
	defer stop()
	g := &getting{ctx: ctx, ss: ss, limit: start.Limit, credit: wire.NewCredit(), sum: sha256.New()}
	go watch(cancel, ss, func(m *wire.GetInput) error { return g.credit.Give(m.GetAck()) }) // ends with the stream
	if err := g.copy(f); err != nil {
		return orCause(ctx, err)
	}
	return ss.Send(&wire.GetOutput{Kind: &wire.GetOutput_Done{Done: &wire.FileSum{Bytes: g.n, Sha256: g.sum.Sum(nil)}}})
}

// orCause prefers the reason a context ended to the error that followed from it.
func orCause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// absolute refuses paths whose meaning depends on the agent's working directory.
func absolute(path string) (string, error) {
	if !filepath.IsAbs(path) {
		return "", wire.Errorf(wire.Code_INVALID, "path %q is not absolute", path)
	}
	return filepath.Clean(path), nil
}

// getting is one running Get.
type getting struct {
	ctx    context.Context
	ss     wire.Agent_GetServer
	limit  int64
	credit *wire.Credit
	sum    hash.Hash
	n      int64
}

func (g *getting) copy(f *os.File) error {
	buf := make([]byte, wire.Chunk)
	for {
		n, err := f.Read(buf)
		if n > 0 {
			if err := g.send(f.Name(), buf[:n]); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (g *getting) send(name string, b []byte) error {
	g.n += int64(len(b))
	if g.limit > 0 && g.n > g.limit {
		return wire.Errorf(wire.Code_TOO_BIG, "read %s: more than %d bytes", name, g.limit)
	}
	g.sum.Write(b)
	if err := g.credit.Take(g.ctx); err != nil {
		return err
	}
	return g.ss.Send(&wire.GetOutput{Kind: &wire.GetOutput_Data{Data: b}})
}
