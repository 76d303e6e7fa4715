//go:build integration

package card

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cubeos-app/releases/magefiles/internal/sys/process"
)

const (
	testUUID  = "0f3ad5f0-2b1c-4d6e-8f90-a1b2c3d4e5f6"
	bootStart = 8 << 20
	rootStart = 48 << 20
	imageSize = 80 << 20
)

// makeArtifact makes a small image of the same layout as a real one and packs it.
func makeArtifact(t *testing.T) Artifact {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "a directory, with spaces")
	if err := os.MkdirAll(filepath.Join(dir, "tree", "etc"), 0o755); err != nil {
		t.Fatal(err)
	}
	random := make([]byte, 3<<20)
	_, _ = rand.Read(random)
	kernel := make([]byte, 64)
	copy(kernel[56:], "ARM\x64")
	files := map[string][]byte{
		"fat": make([]byte, rootStart-bootStart), "image": make([]byte, imageSize), "tree/etc/random": random,
		"config.txt": []byte("kernel=Image\r\ninitramfs one,two followkernel\r\n"), "cmdline.txt": []byte("root=PARTUUID=5a3c9d02-02 rootwait\n"),
		"Image": append(kernel, random...), "one": []byte("first"), "two": []byte("second"), "meta-data": []byte("instance-id: shipped\n"),
	}
	for name, b := range files {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, step := range []process.Cmd{
		{Argv: []string{"mkfs.vfat", "-F", "32", "-s", "1", "-n", "bootfs", "fat"}},
		{Argv: []string{"mcopy", "-i", "fat", "config.txt", "cmdline.txt", "Image", "one", "two", "meta-data", "::"}},
		{Argv: []string{"sfdisk", "-q", "image"}, Stdin: strings.NewReader(fmt.Sprintf(
			"label: dos\nlabel-id: 0x5a3c9d02\nstart=%d,size=%d,type=c\nstart=%d,type=83\n", bootStart/512, (rootStart-bootStart)/512, rootStart/512))},
		{Argv: []string{"dd", "if=fat", "of=image", "bs=1M", "seek=8", "conv=notrunc", "status=none"}},
		{Argv: []string{"mke2fs", "-q", "-t", "ext4", "-U", testUUID, "-d", "tree", "-E", fmt.Sprintf("offset=%d", rootStart), "image", "32M"}},
		{Argv: []string{"xz", "-0", "-k", "image"}},
	} {
		step.Dir = dir
		if err := step.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	return Artifact{XZPath: filepath.Join(dir, "image.xz"), RawSHA256: digest(t, filepath.Join(dir, "image")), RawSize: imageSize}
}

func digest(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func TestUnpack(t *testing.T) {
	a := makeArtifact(t)
	dir := filepath.Join(t.TempDir(), "raw")
	raw, err := Unpack(t.Context(), a, dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := digest(t, raw); got != a.RawSHA256 {
		t.Fatalf("the raw image has sha256 %s, want %s", got, a.RawSHA256)
	}
	if got := allocated(t, raw); got > imageSize/2 {
		t.Errorf("%d bytes are allocated for an image that is mostly zero", got)
	}
	before, err := os.Stat(raw)
	if err != nil {
		t.Fatal(err)
	}
	again := func() os.FileInfo {
		t.Helper()
		if _, err := Unpack(t.Context(), a, dir, nil); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(raw)
		if err != nil {
			t.Fatal(err)
		}
		return info
	}
	if !os.SameFile(before, again()) {
		t.Error("an unchanged raw image was unpacked again")
	}
	f, err := os.OpenFile(raw, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("changed"), rootStart); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	again()
	if got := digest(t, raw); got != a.RawSHA256 {
		t.Error("a raw image that somebody wrote to was taken as it is")
	}
}

func TestUnpackRefusesWhatTheManifestDoesNotSay(t *testing.T) {
	a := makeArtifact(t)
	packed, err := os.ReadFile(a.XZPath)
	if err != nil {
		t.Fatal(err)
	}
	truncated, garbage := a.XZPath+".truncated", a.XZPath+".garbage"
	for path, b := range map[string][]byte{truncated: packed[:len(packed)/2], garbage: []byte("<html>not found</html>")} {
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		name string
		a    Artifact
		want string
	}{
		{"another digest", Artifact{a.XZPath, strings.Repeat("0", 64), a.RawSize}, "not what the build manifest says"},
		{"shorter than it is", Artifact{a.XZPath, a.RawSHA256, a.RawSize - 512}, "more data than expected"},
		{"longer than it is", Artifact{a.XZPath, a.RawSHA256, a.RawSize + 512}, "not what the build manifest says"},
		{"truncated", Artifact{truncated, a.RawSHA256, a.RawSize}, "xz"},
		{"not an xz", Artifact{garbage, a.RawSHA256, a.RawSize}, "xz"},
	} {
		dir := t.TempDir()
		if _, err := Unpack(t.Context(), tt.a, dir, nil); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", tt.name, err, tt.want)
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Errorf("%s: %v is left (%v)", tt.name, left, err)
		}
	}
}

func TestOverlayLeavesTheImageAlone(t *testing.T) {
	a := makeArtifact(t)
	work := filepath.Join(t.TempDir(), "work: with, everything")
	raw, err := Unpack(t.Context(), a, filepath.Join(work, "raw"), nil)
	if err != nil {
		t.Fatal(err)
	}
	img, err := Inspect(t.Context(), raw)
	if err != nil {
		t.Fatal(err)
	}
	if img.RootUUID != testUUID || img.RootPARTUUID != "5a3c9d02-02" || img.Boot.Start != bootStart {
		t.Errorf("the image reads as %+v", img)
	}
	dir := filepath.Join(work, "machines", "one")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	boot, err := img.Extract(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&Boot{Kernel: "kernel", Initrd: "initrd", CmdlineFile: "cmdline.txt", DeviceTreeFile: "bcm2711-rpi-4-b.dtb", Cmdline: "root=PARTUUID=5a3c9d02-02 rootwait", From: "Image + one + two"}, boot); diff != "" {
		t.Errorf("boot (-want +got):\n%s", diff)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "initrd")); err != nil || string(b) != "firstsecond" {
		t.Errorf("the initramfs is %q (%v)", b, err)
	}
	large := strings.Repeat("a long user-data\n", 40000)
	const size = 200 << 20
	files := []File{{Name: "meta-data", Content: []byte("instance-id: test\n")}, {Name: "user-data", Content: []byte(large)}, {Name: "two", Deleted: true}}
	if err := img.NewOverlay(t.Context(), dir, "device.qcow2", size, files); err != nil {
		t.Fatal(err)
	}
	if got := digest(t, raw); got != a.RawSHA256 {
		t.Fatal("the raw image was changed")
	}

	flat := filepath.Join(t.TempDir(), "flat.img")
	if err := (process.Cmd{Argv: []string{"qemu-img", "convert", "-O", "raw", "device.qcow2", flat}, Dir: dir}).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(flat); err != nil || info.Size() != size {
		t.Errorf("the device has %d bytes (%v), want %d", info.Size(), err, size)
	}
	device, err := Inspect(t.Context(), flat)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"meta-data": "instance-id: test", "user-data": strings.TrimSpace(large), "one": "first"} {
		got, err := device.readText(t.Context(), name)
		if err != nil || got != want {
			t.Errorf("%s on the device has %d bytes (%v), want %d", name, len(got), err, len(want))
		}
	}
	if text, err := device.readText(t.Context(), "two"); err == nil {
		t.Errorf("a file that was deleted says %q", text)
	}
	if err := process.Run(t.Context(), "sh", "-c", `dd if="$0" bs=1M skip=8 count=40 status=none of="$0.fat" && fsck.vfat -n "$0.fat"`, flat); err != nil {
		t.Errorf("the device's boot partition: %v", err)
	}
	if err := CheckRoot(t.Context(), dir, "device.qcow2"); err != nil {
		t.Errorf("a clean root file system: %v", err)
	}
	damage := process.Cmd{Argv: []string{"qemu-io", "-f", "qcow2", "-c", fmt.Sprintf("write -q -P 0xff %d 64k", rootStart+4096), "device.qcow2"}, Dir: dir}
	if err := damage.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := CheckRoot(t.Context(), dir, "device.qcow2"); err == nil {
		t.Error("a damaged root file system was called clean")
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 3 {
		t.Errorf("the device's directory holds %v (%v), want kernel, initrd and device", left, err)
	}
}

func TestUnpackCancelled(t *testing.T) {
	a := makeArtifact(t)
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Unpack(ctx, a, dir, nil); err == nil {
		t.Error("a cancelled unpacking succeeded")
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("%v is left (%v)", left, err)
	}
}

func TestCheckFirmwareReadsBothFileSystems(t *testing.T) {
	a := makeArtifact(t)
	raw, err := Unpack(t.Context(), a, filepath.Join(t.TempDir(), "raw"), nil)
	if err != nil {
		t.Fatal(err)
	}
	img, err := Inspect(t.Context(), raw)
	if err != nil {
		t.Fatal(err)
	}
	err = img.CheckFirmware(t.Context(), "cloudinit-rpi", t.TempDir())
	for _, want := range []string{
		"the kernel Image does not say which version it is", "bcm2711-rpi-4-b.dtb", "bcm2712-rpi-5-b.dtb",
		"no cgroup_enable=memory", "fstab does not mount /", "no user-data",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("nothing of %q in %v", want, err)
		}
	}
	if strings.Contains(err.Error(), "PARTUUID") {
		t.Errorf("the root that cmdline.txt names is in the partition table, but: %v", err)
	}
}
