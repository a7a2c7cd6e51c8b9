package bb

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// renamedMain is what func main of one of our commands becomes.
const renamedMain = "busyboxMain"

// asPackage returns the source of one file of a command of ours as a file of an importable package: two words change,
// the lines stay. That is sound because our mains keep to a rule that this checks: no init functions, and no flags in
// package variables, as either would take effect in every other command too.
func asPackage(file string, src []byte, command string) ([]byte, error) {
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, file, src, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	edits := []edit{{fset.Position(f.Name.Pos()).Offset, len(f.Name.Name), packageName(command)}}
	for _, d := range f.Decls {
		if err := checkDecl(d); err != nil {
			return nil, fmt.Errorf("%s: %w", fset.Position(d.Pos()), err)
		}
		if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "main" {
			edits = append(edits, edit{fset.Position(fn.Name.Pos()).Offset, len("main"), renamedMain})
		}
	}
	return apply(src, edits), nil
}

func checkDecl(d ast.Decl) error {
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Recv == nil && d.Name.Name == "init" {
			return errors.New("func init in a command of the busybox would run in every command: do it in main")
		}
	case *ast.GenDecl:
		if d.Tok == token.VAR && usesFlag(d) {
			return errors.New("package variables with flags would be flags of every command: define them in main")
		}
	}
	return nil
}

// usesFlag says whether a declaration calls something of a package called flag or pflag.
func usesFlag(d ast.Decl) bool {
	found := false
	ast.Inspect(d, func(n ast.Node) bool {
		if _, ok := n.(*ast.FuncLit); ok {
			return false
		}
		if sel, ok := n.(*ast.SelectorExpr); ok {
			id, ok := sel.X.(*ast.Ident)
			found = found || (ok && (id.Name == "flag" || id.Name == "pflag"))
		}
		return true
	})
	return found
}

// edit replaces n bytes at offset.
type edit struct {
	offset, n int
	text      string
}

// apply makes edits, which are in order and apart.
func apply(src []byte, edits []edit) []byte {
	var out []byte
	at := 0
	for _, e := range edits {
		out = append(append(out, src[at:e.offset]...), e.text...)
		at = e.offset + e.n
	}
	return append(out, src[at:]...)
}

// packageName is a Go identifier for a command.
func packageName(command string) string {
	return "bb" + strings.Map(func(r rune) rune {
		if r == '_' || (r >= '0' && r <= '9') || (r >= 'a' && r <= 'z') || (r >= 'A' && r <= 'Z') {
			return r
		}
		return -1
	}, command)
}

// registration is the file that makes one of our commands known to the registry.
func registration(command string) []byte {
	return fmt.Appendf(nil, "package %s\n\nimport %q\n\nfunc init() { bbmain.Register(%q, bbmain.Noop, %s) }\n",
		packageName(command), registerPath, command, renamedMain)
}

// overlayOwn lays our own commands, as packages, over their sources.
func (b *builder) overlayOwn(o *overlay) error {
	for _, p := range b.own {
		pkg, name := b.source.packages[p], path.Base(p)
		if pkg.Name != "main" {
			return fmt.Errorf("%s is package %s, not a command", p, pkg.Name)
		}
		for _, file := range pkg.GoFiles {
			full := filepath.Join(pkg.Dir, file)
			src, err := os.ReadFile(full)
			if err != nil {
				return err
			}
			if src, err = asPackage(full, src, name); err != nil {
				return err
			}
			o.put(path.Join(p, file), src)
		}
		o.put(path.Join(p, "busybox_register.go"), registration(name))
	}
	return nil
}
