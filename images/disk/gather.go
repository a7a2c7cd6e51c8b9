package disk

import (
	"os"

	"github.com/diskfs/go-diskfs/backend"
)

// gatherMost is how many bytes wait at most.
const gatherMost = 1 << 20

// A gatherer is the file under the FAT writer, which writes a cluster at a time: writes that follow each other become
// one. What waits is written before anything is read, and by flush.
type gatherer struct {
	*os.File
	waiting []byte
	at      int64
}

func gather(f *os.File) *gatherer {
	return &gatherer{File: f, waiting: make([]byte, 0, gatherMost)}
}

// WriteAt takes p in.
func (g *gatherer) WriteAt(p []byte, off int64) (int, error) {
	if off != g.at+int64(len(g.waiting)) || len(g.waiting)+len(p) > gatherMost {
		if err := g.flush(); err != nil {
			return 0, err
		}
		g.at = off
	}
	if len(p) > gatherMost {
		return g.File.WriteAt(p, off)
	}
	g.waiting = append(g.waiting, p...)
	return len(p), nil
}

// ReadAt reads what was written, wherever it is.
func (g *gatherer) ReadAt(p []byte, off int64) (int, error) {
	if err := g.flush(); err != nil {
		return 0, err
	}
	return g.File.ReadAt(p, off)
}

func (g *gatherer) flush() error {
	_, err := g.File.WriteAt(g.waiting, g.at)
	g.at += int64(len(g.waiting))
	g.waiting = g.waiting[:0]
	return err
}

// Sync does not wait for the disk: the whole file is synced once, at the end.
func (g *gatherer) Sync() error { return g.flush() }

// Sys, Writable and Path make a backend.Storage.
func (g *gatherer) Sys() (*os.File, error)                  { return g.File, g.flush() }
func (g *gatherer) Writable() (backend.WritableFile, error) { return g, nil }
func (g *gatherer) Path() string                            { return "" }
