// A stand-in for the plugin of mkaczanowski/packer-builder-arm, for tests: it
// takes the same attributes and prints the same announcements, attaches the
// image to a loop device, mounts its root file system, and lets Packer
// provision it in a chroot by means of Packer's own communicator. It neither
// grows the image nor mounts the boot partition, and finds the root partition
// by its offset: the kernel may have neither FAT nor partition devices.
//
// It is built with .ci/packer.mod.
package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/hashicorp/hcl/v2/hcldec"
	"github.com/hashicorp/packer-plugin-sdk/chroot"
	"github.com/hashicorp/packer-plugin-sdk/multistep"
	"github.com/hashicorp/packer-plugin-sdk/multistep/commonsteps"
	"github.com/hashicorp/packer-plugin-sdk/packer"
	"github.com/hashicorp/packer-plugin-sdk/plugin"
	"github.com/hashicorp/packer-plugin-sdk/version"
	"github.com/zclconf/go-cty/cty"
	ctyjson "github.com/zclconf/go-cty/cty/json"
)

func main() {
	set := plugin.NewSet()
	set.RegisterBuilder(plugin.DEFAULT_NAME, new(builder))
	set.SetVersion(version.NewPluginVersion("0.0.1", "", ""))
	if err := set.Run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// settings are those of the attributes that the stand-in acts on.
type settings struct {
	FileURLs   []string    `json:"file_urls"`
	Checksum   string      `json:"file_checksum"`
	ImagePath  string      `json:"image_path"`
	Partitions []partition `json:"image_partitions"`
	Mounts     []mount     `json:"additional_chroot_mounts"`
	Extra      [][]string  `json:"image_setup_extra"`
}

type partition struct {
	StartSector int64  `json:"start_sector"`
	Mountpoint  string `json:"mountpoint"`
}

type mount struct {
	Type        string `json:"mount_type"`
	Source      string `json:"source_path"`
	Destination string `json:"destination_path"`
}

type builder struct{ settings settings }

// ConfigSpec has every attribute the real builder documents, and no other.
func (b *builder) ConfigSpec() hcldec.ObjectSpec {
	spec := hcldec.ObjectSpec{
		"image_size_bytes":  &hcldec.AttrSpec{Name: "image_size_bytes", Type: cty.Number},
		"image_setup_extra": &hcldec.AttrSpec{Name: "image_setup_extra", Type: cty.List(cty.List(cty.String))},
		"image_partitions": block("image_partitions", map[string]cty.Type{
			"int": cty.Number, "name": cty.String, "type": cty.String, "size": cty.String, "start_sector": cty.Number,
			"filesystem": cty.String, "filesystem_make_options": cty.List(cty.String), "mountpoint": cty.String,
		}),
	}
	for _, name := range []string{"image_chroot_mounts", "additional_chroot_mounts"} {
		spec[name] = block(name, map[string]cty.Type{"mount_type": cty.String, "source_path": cty.String, "destination_path": cty.String})
	}
	for _, name := range []string{
		"file_checksum", "file_checksum_url", "file_checksum_type", "file_target_path", "file_target_extension", "file_tmp_dir_location",
		"image_path", "image_size", "image_type", "image_mount_path", "image_build_method",
		"qemu_binary_source_path", "qemu_binary_destination_path",
	} {
		spec[name] = &hcldec.AttrSpec{Name: name, Type: cty.String}
	}
	for _, name := range []string{"file_urls", "file_unarchive_cmd", "image_chroot_env"} {
		spec[name] = &hcldec.AttrSpec{Name: name, Type: cty.List(cty.String)}
	}
	return spec
}

func block(name string, attributes map[string]cty.Type) hcldec.Spec {
	nested := hcldec.ObjectSpec{}
	for attribute, typ := range attributes {
		nested[attribute] = &hcldec.AttrSpec{Name: attribute, Type: typ}
	}
	return &hcldec.BlockListSpec{TypeName: name, Nested: nested}
}

func (b *builder) Prepare(raws ...any) ([]string, []string, error) {
	for _, raw := range raws {
		value, ok := raw.(cty.Value)
		if !ok {
			continue // what Packer says of itself
		}
		text, err := ctyjson.SimpleJSONValue{Value: value}.MarshalJSON()
		if err != nil {
			return nil, nil, err
		}
		if err := json.Unmarshal(text, &b.settings); err != nil {
			return nil, nil, err
		}
	}
	return nil, nil, nil
}

func (b *builder) Run(ctx context.Context, ui packer.Ui, hook packer.Hook) (_ packer.Artifact, err error) {
	s := b.settings
	undo := undoing{}
	defer func() { err = errors.Join(err, undo.all(ui)) }()
	ui.Say("Retrieving rootfs_archive")
	if err := verify(s.FileURLs[0], s.Checksum); err != nil {
		return nil, err
	}
	ui.Message("using raw image")
	if err := run("cp", "--sparse=always", s.FileURLs[0], s.ImagePath); err != nil {
		return nil, err
	}
	ui.Message("mapping image " + s.ImagePath + " to free loopback device")
	root, err := os.MkdirTemp("", "")
	if err != nil {
		return nil, err
	}
	if err := attach(s, root, ui, &undo); err != nil {
		return nil, err
	}
	if err := prepare(s, root, &undo); err != nil {
		return nil, err
	}
	ui.Message("running the provision hook")
	comm := &chroot.Communicator{Chroot: root, CmdWrapper: func(cmd string) (string, error) { return cmd, nil }}
	data := commonsteps.PopulateProvisionHookData(new(multistep.BasicStateBag))
	if err := hook.Run(ctx, packer.HookProvision, ui, comm, data); err != nil {
		ui.Error(fmt.Sprintf("error while running provision hook: %v", err))
		return nil, errors.New("build was halted")
	}
	return artifact(s.ImagePath), nil
}

func attach(s settings, root string, ui packer.Ui, undo *undoing) error {
	last := s.Partitions[len(s.Partitions)-1]
	out, err := exec.Command("losetup", "--find", "--show", "--offset", strconv.FormatInt(last.StartSector*512, 10), s.ImagePath).CombinedOutput()
	if err != nil {
		return fmt.Errorf("losetup: %w: %s", err, out)
	}
	device := strings.TrimSpace(string(out))
	undo.add("losetup", "--detach", device)
	ui.Message(fmt.Sprintf("image %s mapped to %s", s.ImagePath, device))
	ui.Message(fmt.Sprintf("mounting %s to %s", device, root))
	if err := run("mount", device, root); err != nil {
		return err
	}
	undo.add("umount", root)
	return nil
}

// prepare does what the builder does between mounting and provisioning.
func prepare(s settings, root string, undo *undoing) error {
	for _, command := range s.Extra {
		var argv []string
		for _, word := range command {
			argv = append(argv, strings.NewReplacer("$MOUNTPOINT", root, "$IMAGE_PATH", s.ImagePath).Replace(word))
		}
		if err := run(argv...); err != nil {
			return err
		}
	}
	mounts := append([]mount{
		{"proc", "proc", "/proc"}, {"sysfs", "sysfs", "/sys"}, {"bind", "/dev", "/dev"}, {"devpts", "/devpts", "/dev/pts"},
	}, s.Mounts...)
	for _, m := range mounts {
		at := filepath.Join(root, m.Destination)
		argv := []string{"mount", "-t", m.Type, m.Source, at}
		if m.Type == "bind" {
			argv = []string{"mount", "--bind", m.Source, at}
		}
		if err := run(argv...); err != nil {
			return err
		}
		undo.add("umount", at)
	}
	return nil
}

func verify(file, checksum string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return err
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != checksum {
		return fmt.Errorf("Checksums did not match for %s: expected %s, got %s", file, checksum, got)
	}
	return nil
}

func run(argv ...string) error {
	if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, out)
	}
	return nil
}

// undoing is what has to be taken back, in the order of its making.
type undoing [][]string

func (u *undoing) add(argv ...string) { *u = append(*u, argv) }

func (u *undoing) all(ui packer.Ui) error {
	var problems []error
	for i := len(*u) - 1; i >= 0; i-- {
		argv := (*u)[i]
		if argv[0] == "umount" {
			ui.Message("unmounting " + argv[1])
		}
		problems = append(problems, run(argv...))
	}
	return errors.Join(problems...)
}

type artifact string

func (a artifact) BuilderId() string { return "builder-arm" }
func (a artifact) Files() []string   { return []string{string(a)} }
func (a artifact) Id() string        { return "" }
func (a artifact) String() string    { return string(a) }
func (a artifact) State(string) any  { return nil }
func (a artifact) Destroy() error    { return os.Remove(string(a)) }
