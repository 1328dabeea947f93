package oauth_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const library = "github.com/luikyv/go-oidc"

// TestLibraryStaysInside: nothing else of the project imports the library, and no
// exported name of this package mentions it but the methods that its interfaces
// ask of types that are not exported.
func TestLibraryStaysInside(t *testing.T) {
	seen := 0
	root := filepath.Join("..", "..")
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".go") {
			return err
		}
		text, err := os.ReadFile(path) // #nosec G304 -- of the project
		if err != nil {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, text, parser.ImportsOnly)
		if err != nil {
			return nil //nolint:nilerr // testdata
		}
		for _, i := range file.Imports {
			if !strings.HasPrefix(strings.Trim(i.Path.Value, `"`), library) {
				continue
			}
			if rel, _ := filepath.Rel(root, filepath.Dir(path)); filepath.ToSlash(rel) != "internal/oauth" {
				t.Errorf("%s imports %s", path, i.Path.Value)
			}
			seen++
		}
		return nil
	})
	must(t, err)
	if seen == 0 {
		t.Fatal("positive control: this package does not import it either")
	}
	files, err := filepath.Glob("*.go")
	must(t, err)
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		must(t, err)
		for _, decl := range file.Decls {
			switch d := decl.(type) {
			case *ast.FuncDecl:
				if d.Name.IsExported() && (d.Recv == nil || exported(d.Recv)) && mentions(d.Type) {
					t.Errorf("%s: %s mentions the library", name, d.Name)
				}
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					if s, ok := spec.(*ast.TypeSpec); ok && s.Name.IsExported() && mentions(s.Type) {
						t.Errorf("%s: %s mentions the library", name, s.Name)
					}
				}
			}
		}
	}
}

func exported(recv *ast.FieldList) bool {
	found := false
	ast.Inspect(recv, func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok && id.IsExported() {
			found = true
		}
		return true
	})
	return found
}

func mentions(n ast.Node) bool {
	found := false
	ast.Inspect(n, func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok && (id.Name == "goidc" || id.Name == "provider") {
			found = true
		}
		return true
	})
	return found
}
