package packer

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/mount"
	"github.com/google/go-cmp/cmp"

	"github.com/cubeos-app/releases/magefiles/internal/build"
	"github.com/cubeos-app/releases/magefiles/internal/recipe"
	"github.com/cubeos-app/releases/magefiles/internal/source/baseimage"
	"github.com/cubeos-app/releases/magefiles/internal/sys/progress"
)

const repository = "../../../.."

// labJob is the lab profile's, as the pipeline has it.
func labJob(t *testing.T) (Engine, build.Job) {
	t.Helper()
	root, err := filepath.Abs(repository)
	if err != nil {
		t.Fatal(err)
	}
	vars := map[string]string{"version": "1.2.3"}
	r, err := recipe.LoadProfile(root, "lab", vars)
	if err != nil {
		t.Fatal(err)
	}
	e := Engine{
		Builder: Builder{Reference: "docker.io/mkaczanowski/packer-builder-arm:1.0.9"}, Root: root,
		Template: "packer/cubeos.pkr.hcl", VarFile: "packer/lab.pkrvars.hcl", Vars: vars, Lock: root + "/build/lock",
	}
	job := build.Job{
		Recipe: r, Base: baseimage.Image{Path: "/cache/base/debian.img", SHA256: "abc"}, Image: root + "/build/cubeos-lab-1.2.3-arm64.img",
		LogDir: t.TempDir(), Time: time.Unix(1, 0), Again: "go tool mage build -engine=packer",
	}
	return e, job
}

func TestArguments(t *testing.T) {
	e, job := labJob(t)
	e.Vars["greeting"] = `it's "a" $HOME; rm -rf /`
	want := []string{
		"build", "-machine-readable", "-var-file=packer/lab.pkrvars.hcl",
		"-var", "base_image_sha256=abc",
		"-var", "base_image_url=/base/debian.img",
		"-var", `greeting=it's "a" $HOME; rm -rf /`,
		"-var", "version=1.2.3",
		"packer/cubeos.pkr.hcl",
	}
	if diff := cmp.Diff(want, e.arguments(job)); diff != "" {
		t.Error(diff)
	}
}

func TestNothingOfTheCallersEnvironmentGetsIn(t *testing.T) {
	t.Setenv("PKR_VAR_version", "6.6.6")
	t.Setenv("http_proxy", "http://secret@proxy")
	_, job := labJob(t)
	want := append([]string{}, job.Recipe.Source.ChrootEnv...)
	want = append(want, "HOME=/root", "CHECKPOINT_DISABLE=1", "PACKER_CACHE_DIR=/tmp/packer_cache", "SETUP_QEMU=false")
	if diff := cmp.Diff(want, environment(job)); diff != "" {
		t.Error(diff)
	}
	if got := packerEnv(os.Environ()); strings.Contains(strings.Join(got, "\n"), "PKR_VAR_") {
		t.Errorf("Packer would take a variable from %q", got)
	}
}

func TestOnlyTheOutputCanBeWrittenTo(t *testing.T) {
	e, job := labJob(t)
	want := []mount.Mount{
		{Type: mount.TypeBind, Source: "/dev", Target: "/dev"},
		{Type: mount.TypeBind, Source: e.Root, Target: "/build", ReadOnly: true},
		{Type: mount.TypeBind, Source: e.Root + "/build/packer-ID", Target: "/build/build"},
		{Type: mount.TypeBind, Source: "/cache/base/debian.img", Target: "/base/debian.img", ReadOnly: true},
	}
	host := hostConfig(sharedMounts(e.Root, e.Root+"/build/packer-ID", job.Base))
	if diff := cmp.Diff(want, host.Mounts); diff != "" || !host.Privileged {
		t.Errorf("privileged %t, %s", host.Privileged, diff)
	}
}

func TestBuilderNames(t *testing.T) {
	const digest = "sha256:0123"
	for reference, want := range map[string]string{
		"docker.io/a/b:1.0.9": "docker.io/a/b@" + digest,
		"localhost:5000/b":    "localhost:5000/b@" + digest,
		"localhost:5000/b:1":  "localhost:5000/b@" + digest,
	} {
		if got := (Builder{reference, digest}).String(); got != want {
			t.Errorf("%s: %s, want %s", reference, got, want)
		}
		if got := (Builder{Reference: reference}).String(); got != reference {
			t.Errorf("%s without a digest: %s", reference, got)
		}
	}
}

// The recipe's attributes are the builder's: those of the FlatConfig structs in
// builder/builder.hcl2spec.go and config/image_config.hcl2spec.go of
// mkaczanowski/packer-builder-arm v1.0.9, the same on its master of 2026-04.
func TestEveryAttributeOfTheSourceIsTheBuilders(t *testing.T) {
	known := map[string][]string{
		"": {
			"file_checksum", "file_checksum_url", "file_checksum_type", "file_urls", "file_unarchive_cmd", "file_target_path",
			"file_target_extension", "file_tmp_dir_location", "image_path", "image_size", "image_type", "image_mount_path",
			"image_build_method", "image_size_bytes", "image_setup_extra", "image_chroot_env",
			"qemu_binary_source_path", "qemu_binary_destination_path",
		},
		"image_partitions":         {"int", "name", "type", "size", "start_sector", "filesystem", "filesystem_make_options", "mountpoint"},
		"image_chroot_mounts":      {"mount_type", "source_path", "destination_path"},
		"additional_chroot_mounts": {"mount_type", "source_path", "destination_path"},
	}
	src, err := os.ReadFile(repository + "/packer/cubeos.pkr.hcl")
	if err != nil {
		t.Fatal(err)
	}
	for _, problem := range unknownAttributes(src, known) {
		t.Error(problem)
	}
	bad := bytes.Replace(src, []byte("  image_build_method "), []byte("  image_bild_method "), 1)
	if found := unknownAttributes(bad, known); len(found) != 1 || !strings.Contains(found[0], "image_bild_method") {
		t.Errorf("a misspelt attribute is reported as %q", found)
	}
}

func TestOutputBecomesProgress(t *testing.T) {
	_, job := labJob(t)
	var shown bytes.Buffer
	o, err := newOutput(job, progress.New(&shown))
	if err != nil {
		t.Fatal(err)
	}
	lines := `running /bin/packer build
1,,ui,say,==> arm.cubeos: Retrieving rootfs_archive
1,,ui,message,    arm.cubeos: using raw image
1,,ui,say,==> arm.cubeos: Uploading packer/scripts/lib.sh => /tmp/cubeos-lib.sh
1,,ui,say,==> arm.cubeos: Provisioning with shell script: packer/scripts/01-base-setup.sh
1,,ui,message,    arm.cubeos: one%!(PACKER_COMMA) two\n    arm.cubeos: three
1,,ui,error,==> arm.cubeos: a warning
1,,ui,say,==> arm.cubeos: Provisioning with shell script: packer/scripts/02-networking.sh
1,,ui,error,==> arm.cubeos: the reason
1,,ui,error,==> arm.cubeos: error while running provision hook: Script exited with non-zero exit status: 7. Allowed exit codes are: [0]
1,,ui,message,    arm.cubeos: unmounting /tmp/1
1,arm.cubeos,error,build was halted
1,,ui,error,--> arm.cubeos: build was halted`
	// However the stream is cut up.
	for part := range strings.SplitSeq(lines, "g") {
		if _, err := o.Write([]byte(part + "g")); err != nil {
			t.Fatal(err)
		}
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	log, err := os.ReadFile(o.log.Name())
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"    arm.cubeos: one, two\n    arm.cubeos: three\n", "==> arm.cubeos: the reason\n"} {
		if !strings.Contains(string(log), want) {
			t.Errorf("the log lacks %q:\n%s", want, log)
		}
	}
	for _, want := range []string{"provisioner 1 of 11, script-library", "provisioner 2 of 11, base-setup", "provisioner 3 of 11, network"} {
		if !strings.Contains(shown.String(), want) {
			t.Errorf("nobody was told %q:\n%s", want, shown.String())
		}
	}
	got := o.failure(1).Error()
	for _, want := range []string{"provisioner 3 of 11, network", "packer/cubeos.pkr.hcl:", "exit status: 7", "its last lines:\nthe reason\n", "-engine=packer"} {
		if !strings.Contains(got, want) {
			t.Errorf("the error lacks %q:\n%s", want, got)
		}
	}
}

func TestABuildersErrorIsTold(t *testing.T) {
	_, job := labJob(t)
	o, err := newOutput(job, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	for _, line := range []string{
		"1,,ui,message,    arm.cubeos: mapping image",
		`1,,ui,error,==> arm.cubeos: error losetup --find --partscan exit status 1: No space left on device\n==> arm.cubeos:`,
	} {
		if err := o.line(line); err != nil {
			t.Fatal(err)
		}
	}
	got := o.failure(1).Error()
	for _, want := range []string{"exit status 1:\nerror losetup", "on device\nall it printed", "a disk is full"} {
		if !strings.Contains(got, want) {
			t.Errorf("the error lacks %q:\n%s", want, got)
		}
	}
}
