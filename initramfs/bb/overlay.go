package bb

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// Import paths that exist only under the overlay: the busybox's main program, its registry, gobusybox's packages.
const (
	mainPath     = Module + "/cmd/busybox"
	registerPath = mainPath + "/bbmain"
	otherPath    = mainPath + "/commands"
)

// overlay collects files for `go build -overlay`: contents in a scratch folder, places in the source tree.
type overlay struct {
	files map[string][]byte // by import path and file name
}

// scratchName matches the name of a file that write made, with whatever folder the compiler puts before it.
var scratchName = regexp.MustCompile(`[^\s:]*overlay/(\d{4})\.go`)

// original puts the names of source files back into a message of the compiler.
func (o *overlay) original(message string) string {
	names := sortedKeys(o.files)
	return scratchName.ReplaceAllStringFunc(message, func(s string) string {
		n, err := strconv.Atoi(scratchName.FindStringSubmatch(s)[1])
		if err != nil || n >= len(names) {
			return s
		}
		return strings.TrimPrefix(names[n], Module+"/")
	})
}

func (o *overlay) put(name string, src []byte) {
	if o.files == nil {
		o.files = make(map[string][]byte)
	}
	o.files[name] = src
}

// write puts the contents into dir and returns the path of the description that the go command reads.
func (o *overlay) write(dir, moduleDir string) (string, error) {
	replace := make(map[string]string, len(o.files))
	for i, name := range sortedKeys(o.files) {
		file := filepath.Join(dir, fmt.Sprintf("%04d.go", i))
		if err := os.WriteFile(file, o.files[name], 0o644); err != nil {
			return "", err
		}
		replace[filepath.Join(moduleDir, strings.TrimPrefix(name, Module))] = file
	}
	data, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, "overlay.json")
	return file, os.WriteFile(file, data, 0o644)
}

// overlayGenerated lays gobusybox's packages into the tree, under import paths of our module.
func (b *builder) overlayGenerated(o *overlay, gen string) error {
	places := map[string]string{genRegister: registerPath}
	for _, p := range b.other {
		places[p] = path.Join(otherPath, p)
	}
	for _, from := range sortedKeys(places) {
		if err := o.copyPackage(filepath.Join(gen, "src", from), places[from]); err != nil {
			return err
		}
	}
	src, err := os.ReadFile(filepath.Join(gen, "src", genMain, "main.go"))
	if err != nil {
		return err
	}
	o.put(mainPath+"/main.go", b.mainSource(src))
	return nil
}

// copyPackage lays every file of dir to an import path.
func (o *overlay) copyPackage(dir, to string) error {
	files, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, f := range files {
		src, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			return err
		}
		o.put(path.Join(to, f.Name()), bytes.ReplaceAll(src, quoted(genRegister), quoted(registerPath)))
	}
	return nil
}

// mainSource points the imports of gobusybox's main program to where the packages are, and adds our own.
func (b *builder) mainSource(src []byte) []byte {
	src = bytes.ReplaceAll(src, quoted(genRegister), quoted(registerPath))
	for _, p := range b.other {
		src = bytes.ReplaceAll(src, quoted(p), quoted(path.Join(otherPath, p)))
	}
	var own bytes.Buffer
	for _, p := range b.own {
		fmt.Fprintf(&own, "import _ %q\n", p)
	}
	head, rest, _ := bytes.Cut(src, []byte("\nimport ("))
	return bytes.Join([][]byte{head, []byte("\n"), own.Bytes(), []byte("import ("), rest}, nil)
}

func quoted(importPath string) []byte { return []byte(`"` + importPath + `"`) }
