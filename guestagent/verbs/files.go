package verbs

import (
	"context"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"picolab/guestagent/wire"
)

// Stat implements wire.AgentService.
func (v *Verbs) Stat(_ context.Context, req *wire.PathRequest) (*wire.FileInfo, error) {
	path, err := absolute(req.Path)
	if err != nil {
		return nil, err
	}
	fi, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	return fileInfo(path, fi), nil
}

// fileInfo describes a file; the target of a symbolic link is "" when it cannot be read.
func fileInfo(path string, fi fs.FileInfo) *wire.FileInfo {
	r := &wire.FileInfo{Name: strings.ToValidUTF8(fi.Name(), "\ufffd"), Size: fi.Size(), MtimeNs: fi.ModTime().UnixNano()}
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		r.Mode = st.Mode
	}
	if fi.Mode()&fs.ModeSymlink != 0 {
		target, _ := os.Readlink(path)
		r.Link = strings.ToValidUTF8(target, "\ufffd")
	}
	return r
}

// List implements wire.AgentService.
func (v *Verbs) List(_ context.Context, req *wire.PathRequest) (*wire.FileList, error) {
	path, err := absolute(req.Path)
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, err
	}
	list := new(wire.FileList)
	for _, e := range entries {
		if fi, err := e.Info(); err == nil { // else it went away meanwhile
			list.Files = append(list.Files, fileInfo(path+"/"+e.Name(), fi))
		}
	}
	return list, nil
}

// Remove implements wire.AgentService.
func (v *Verbs) Remove(_ context.Context, req *wire.RemoveRequest) (*wire.Empty, error) {
	path, err := absolute(req.Path)
	if err != nil {
		return nil, err
	}
	if path == "/" {
		return nil, wire.Errorf(wire.Code_INVALID, "remove /: refused")
	}
	if req.All {
		return &wire.Empty{}, os.RemoveAll(path)
	}
	return &wire.Empty{}, os.Remove(path)
}

// Mkdir implements wire.AgentService.
func (v *Verbs) Mkdir(_ context.Context, req *wire.MkdirRequest) (*wire.Empty, error) {
	path, err := absolute(req.Path)
	if err != nil {
		return nil, err
	}
	mode := fs.FileMode(req.Mode) & fs.ModePerm
	if mode == 0 {
		mode = 0o755
	}
	return &wire.Empty{}, os.MkdirAll(path, mode)
}
