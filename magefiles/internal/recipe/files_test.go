package recipe

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCheckFiles(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("testdata/good")); err != nil {
		t.Fatal(err)
	}
	write := func(name, text string) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	r, err := Load(Options{Root: dir, TemplateFile: "packer/all.pkr.hcl", VarFile: "packer/all.pkrvars.hcl"})
	if err != nil {
		t.Fatal(err)
	}
	problems := func(except ...string) []string {
		var got []string
		err := r.CheckFiles(except...)
		var e *Error
		if err != nil && !errors.As(err, &e) {
			t.Fatalf("got %T, want an *Error", err)
		}
		if e != nil {
			for _, d := range e.Diagnostics {
				got = append(got, d.Subject.String()+" "+d.Detail)
			}
		}
		return got
	}
	want := []string{
		"packer/all.pkr.hcl:91,14-30 scripts/one.sh: no such file or directory.",
		"packer/all.pkr.hcl:105,15-68 packer/scripts/two.sh: no such file or directory.",
		"packer/all.pkr.hcl:105,15-68 packer/scripts/nobody.sh: no such file or directory.",
		"packer/all.pkr.hcl:111,19-40 packer/files/: no such file or directory.",
		"packer/all.pkr.hcl:116,20-27 a.txt: no such file or directory.",
		"packer/all.pkr.hcl:116,29-41 /abs/b.txt: no such file or directory.",
	}
	if diff := cmp.Diff(want, problems()); diff != "" {
		t.Errorf("missing files (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want[:3], problems("packer/files", filepath.Join(dir, "a.txt"), "/abs/b.txt")); diff != "" {
		t.Errorf("missing files with exceptions (-want +got):\n%s", diff)
	}

	write("scripts/one.sh", "#!/bin/sh\r\ntrue\r\n")
	write("packer/scripts/two.sh", "true\n")
	write("packer/scripts/nobody.sh", "#!/bin/sh\ntrue\n")
	write("packer/files", "a file")
	if err := os.Mkdir(filepath.Join(dir, "a.txt"), 0o755); err != nil {
		t.Fatal(err)
	}
	got := strings.Join(problems("/abs/b.txt"), "\n")
	for _, text := range []string{
		"scripts/one.sh: it has Windows line endings", "two.sh: it does not begin with #!",
		"packer/files/: it is no directory", "a.txt: it is a directory: end it with a slash",
	} {
		if !strings.Contains(got, text) {
			t.Errorf("got %s\nwant %s", got, text)
		}
	}
	if strings.Contains(got, "nobody.sh") {
		t.Errorf("a good script is reported: %s", got)
	}
}

func TestCheckFormat(t *testing.T) {
	file := filepath.Join(t.TempDir(), "x.pkr.hcl")
	const ugly, good = "a = 1\nlonger=2\n", "a      = 1\nlonger = 2\n"
	if err := os.WriteFile(file, []byte(ugly), 0o644); err != nil {
		t.Fatal(err)
	}
	err := CheckFormat(file)
	if err == nil || !strings.Contains(err.Error(), file+":1: not formatted as packer fmt does:\n  is:     a = 1\n  should: a      = 1") {
		t.Errorf("got %v", err)
	}
	if err := os.WriteFile(file, []byte(good), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := CheckFormat(file); err != nil {
		t.Error(err)
	}
	if err := CheckFormat("testdata/bad/syntax.pkr.hcl"); err == nil || !strings.Contains(err.Error(), "line 3") {
		t.Errorf("got %v, want the syntax error", err)
	}
	if err := CheckFormat("testdata/gone.pkr.hcl"); err == nil {
		t.Error("a missing file is well formatted")
	}
}

func TestPublishModes(t *testing.T) {
	root := t.TempDir()
	if err := os.CopyFS(root, os.DirFS("testdata/good")); err != nil {
		t.Fatal(err)
	}
	in := func(name string) string { return filepath.Join(root, name) }
	modes := map[string][2]os.FileMode{
		"packer/files/etc":         {0o700, 0o755},
		"packer/files/etc/private": {0o600, 0o644},
		"packer/files/etc/program": {0o700, 0o755},
		"packer/files/etc/shared":  {0o664, 0o664},
		"a.txt":                    {0o400, 0o444},
		"elsewhere":                {0o600, 0o600},
		"scripts":                  {0o700, 0o700},
	}
	for _, dir := range []string{"packer/files/etc", "scripts"} {
		if err := os.MkdirAll(in(dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Symlink("../../../elsewhere", in("packer/files/etc/link")), os.Symlink("nothing", in("packer/files/dangling"))); err != nil {
		t.Fatal(err)
	}
	for name, mode := range modes {
		if _, err := os.Stat(in(name)); err != nil {
			if err := os.WriteFile(in(name), nil, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Chmod(in(name), mode[0]); err != nil {
			t.Fatal(err)
		}
	}
	r, err := Load(Options{Root: root, TemplateFile: "packer/all.pkr.hcl", VarFile: "packer/all.pkrvars.hcl"})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.PublishModes(); err != nil {
		t.Fatal(err)
	}
	for name, mode := range modes {
		info, err := os.Stat(in(name))
		if err != nil || info.Mode().Perm() != mode[1] {
			t.Errorf("%s: %v, %v, want %v", name, info.Mode(), err, mode[1])
		}
	}
}
