package zone

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// maxFiles bounds what one map can include.
const maxFiles = 100

// Load reads the map at path with the files it includes, and makes sure that
// the certificates it names are there. The error is *Errors when the map is
// wrong, another when the map itself cannot be read.
func Load(path string) (*Zone, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the map: %w", err)
	}
	base, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("find the folder of the map: %w", err)
	}
	r := newReader()
	m := r.readMap(path, data)
	r.include(filepath.Dir(path), m)
	r.checkFiles(base, m)
	return r.finish(path, base, m)
}

// Parse reads a map that is one file, from memory and without looking at any
// other file. The error is always *Errors.
func Parse(name string, data []byte) (*Zone, error) {
	r := newReader()
	m := r.readMap(name, data)
	if len(m.includes) > 0 {
		r.fail(r.at("include").value, "include needs files, and this map is read from memory", "put the services into the map")
	}
	return r.finish(name, filepath.Dir(name), m)
}

func newReader() *reader { return &reader{places: make(map[string]place)} }

// readMap reads the main file. It returns a map, perhaps an empty one, also
// when there are errors, so that the checks can find more.
func (r *reader) readMap(file string, data []byte) *mapFile {
	m, ok := readAs(r, mapType(), file, "", data)
	if !ok {
		m = mapType().empty()
	}
	return &m
}

// readAs reads a file of the map as a type of the grammar.
func readAs[T any](r *reader, of typ[T], file, path string, data []byte) (v T, ok bool) {
	r.files = append(r.files, file)
	if path == "" { // what is not written is told at the start of the map
		r.places[""] = place{Pos{file, 1, 1}, Pos{file, 1, 1}}
	}
	root := r.document(file, data)
	if root == nil {
		return v, false
	}
	return of.read(r, written{file, path, Pos{file, 1, 1}, root})
}

// include reads the files that the map includes: their services join the map's.
func (r *reader) include(dir string, m *mapFile) {
	for i, glob := range m.includes {
		at := r.at("include[" + strconv.Itoa(i) + "]").value
		files, err := filepath.Glob(filepath.Join(globLiteral(dir), glob))
		switch {
		case err == nil && len(files) == 0 && strings.ContainsAny(glob, "*?["):
			r.notice(at, "include", Warning, fmt.Sprintf("%q matches no file", glob))
		case err != nil || len(files) == 0:
			r.fail(at, fmt.Sprintf("include: there is no file %q", glob), "write a path relative to the map")
		}
		for _, file := range files {
			r.includeFile(at, file, m)
		}
	}
}

// globLiteral returns a pattern that matches the folder of this very name.
func globLiteral(dir string) string {
	if filepath.Separator == '\\' {
		return dir // there is no escape on Windows
	}
	return strings.NewReplacer("*", `\*`, "?", `\?`, "[", `\[`, `\`, `\\`).Replace(dir)
}

func (r *reader) includeFile(at Pos, file string, m *mapFile) {
	if slices.Contains(r.files, file) {
		r.fail(at, fmt.Sprintf("include: %s is read twice", file), "let each file match once, and keep the map itself out of the pattern")
		return
	}
	if len(r.files) > maxFiles {
		r.fail(at, fmt.Sprintf("include: more than %d files", maxFiles), "join some of them")
		return
	}
	data, err := readFile(file)
	if err != nil {
		r.fail(at, fmt.Sprintf("include: %s cannot be read: %s", file, reasonOf(err)), "make it a regular file that can be read")
		return
	}
	more, _ := readAs(r, includedType(), file, fmt.Sprintf("include[%q]", file), data)
	m.Services = append(m.Services, more.Services...)
}

// readFile reads a regular file, up to what a map may be.
func readFile(path string) (data []byte, err error) {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() { // to open a pipe would wait for its writer
		return nil, &fs.PathError{Op: "read", Path: path, Err: errors.New("not a regular file")}
	}
	f, err := os.Open(path) // #nosec G304 -- the operator names the map, and the map names its includes
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "read", Path: path, Err: errors.New("not a regular file")}
	}
	var b bytes.Buffer
	_, err = io.Copy(&b, io.LimitReader(f, maxFile+1)) // one more, so that the reader sees what is too long
	return b.Bytes(), err
}

// reasonOf is why a file cannot be read, without its path.
func reasonOf(err error) string {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return p.Err.Error()
	}
	return err.Error()
}

// checkFiles makes sure that the files without which `serve` cannot start are there.
func (r *reader) checkFiles(base string, m *mapFile) {
	check := func(path, file string) {
		if file == "" {
			return
		}
		info, err := os.Stat(inFolder(base, file))
		if err == nil && !info.Mode().IsRegular() {
			err = errors.New("not a regular file")
		}
		if err != nil {
			r.fail(r.at(path).value, fmt.Sprintf("%s: %s cannot be read: %s", nameOf(path), file, reasonOf(err)), "paths are relative to the folder of the map")
		}
	}
	for _, l := range m.doors.outside {
		path := pathOf("listeners", l.Name)
		check(path+".certificate.cert", l.Certificate.Cert)
		check(path+".certificate.key", l.Certificate.Key)
		check(path+".client_ca", l.ClientCA)
	}
	for _, p := range m.Identity.Providers {
		check(pathOf("identity.providers", p.Name)+".ca", p.CA)
		if !isURL(p.Metadata) {
			check(pathOf("identity.providers", p.Name)+".metadata", p.Metadata)
		}
	}
}

func inFolder(base, file string) string {
	if file == "" || filepath.IsAbs(file) {
		return file
	}
	return filepath.Join(base, file)
}
