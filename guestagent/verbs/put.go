package verbs

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"picolab/guestagent/wire"
)

// Put implements wire.AgentService. A regular file appears under its name only when it is whole and has the client's
// SHA-256; until then, and after any failure, what was there before stays.
func (v *Verbs) Put(_ context.Context, ss wire.Agent_PutServer) error {
	m, err := ss.Recv()
	if err != nil {
		return err
	}
	start := m.GetStart()
	if start == nil {
		return unexpected("put")
	}
	path, err := absolute(start.Path)
	if err != nil {
		return err
	}
	t, err := createTarget(path, start)
	if err != nil {
		return err
	}
	defer t.discard()
	p := &putting{ss: ss, w: t.f, sum: sha256.New()}
	done, err := p.copy()
	if err != nil {
		return err
	}
	if done.Bytes != p.n || !bytes.Equal(done.Sha256, p.sum.Sum(nil)) {
		return wire.Errorf(wire.Code_INTERNAL, "put %s: got %d bytes with SHA-256 %x, client sent %d with %x",
			path, p.n, p.sum.Sum(nil), done.Bytes, done.Sha256)
	}
	if err := t.commit(); err != nil {
		return err
	}
	return ss.Send(&wire.PutOutput{Kind: &wire.PutOutput_Done{Done: &wire.FileSum{Bytes: p.n, Sha256: p.sum.Sum(nil)}}})
}

// putting is one running Put.
type putting struct {
	ss  wire.Agent_PutServer
	w   io.Writer
	sum hash.Hash
	n   int64
}

// copy stores data until the client announces what it has sent.
func (p *putting) copy() (*wire.FileSum, error) {
	unack := uint32(0)
	for {
		m, err := p.ss.Recv()
		if errors.Is(err, io.EOF) {
			return nil, errClientGone
		}
		if err != nil {
			return nil, err
		}
		if d := m.GetDone(); d != nil {
			return d, nil
		}
		n, err := p.w.Write(m.GetData())
		p.n += int64(n)
		p.sum.Write(m.GetData()[:n])
		if err != nil {
			return nil, err
		}
		if unack++; unack == wire.AckEvery {
			unack = 0
			if err := p.ss.Send(&wire.PutOutput{Kind: &wire.PutOutput_Ack{Ack: &wire.Ack{Messages: wire.AckEvery}}}); err != nil {
				return nil, err
			}
		}
	}
}

// target is the file being written: a temporary one beside the final name, or the file itself.
type target struct {
	f    *os.File
	path string // where f is to be renamed to; "" = written in place
}

func createTarget(path string, start *wire.PutStart) (*target, error) {
	if start.Device {
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0)
		if err != nil {
			return nil, err
		}
		return &target{f: f}, nil
	}
	if fi, err := os.Stat(path); err == nil && fi.IsDir() {
		return nil, wire.Errorf(wire.Code_GUEST, "put %s: is a folder", path)
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return nil, err
	}
	mode := fs.FileMode(start.Mode & 0o7777)
	if mode == 0 {
		mode = 0o644
	}
	if err := chmod(f, mode); err != nil {
		f.Close()
		os.Remove(f.Name())
		return nil, err
	}
	return &target{f: f, path: path}, nil
}

// chmod takes the bits of chmod(2), where os wants its own for setuid and friends.
func chmod(f *os.File, mode fs.FileMode) error {
	m := mode & fs.ModePerm
	for bit, os := range map[fs.FileMode]fs.FileMode{0o4000: fs.ModeSetuid, 0o2000: fs.ModeSetgid, 0o1000: fs.ModeSticky} {
		if mode&bit != 0 {
			m |= os
		}
	}
	return f.Chmod(m)
}

// commit makes the file final.
func (t *target) commit() error {
	if err := t.f.Close(); err != nil {
		return err
	}
	if t.path == "" {
		return nil
	}
	if err := os.Rename(t.f.Name(), t.path); err != nil {
		return err
	}
	t.path = ""
	return nil
}

// discard removes what is not committed.
func (t *target) discard() {
	t.f.Close()
	if t.path != "" {
		os.Remove(t.f.Name())
	}
}
