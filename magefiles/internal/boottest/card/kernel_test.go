package card

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestKernelRelease(t *testing.T) {
	image := make([]byte, 4096)
	copy(image[56:], "ARM\x64")
	copy(image[1000:], "Linux version %s\x00Linux version 6.18.2-v8+ (builder@host) (gcc) #1\x00")
	for name, raw := range map[string][]byte{"plain": image, "gzip": gzipped(t, image)} {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, raw, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := MakeLoadable(path); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got, err := kernelRelease(path); err != nil || got != "6.18.2-v8+" {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
	}
	path := filepath.Join(t.TempDir(), "other")
	if err := os.WriteFile(path, make([]byte, 4096), 0o644); err != nil {
		t.Fatal(err)
	}
	if got, err := kernelRelease(path); err == nil {
		t.Errorf("a file without a version is %q", got)
	}
}

func TestMissingDrivers(t *testing.T) {
	const debianBuiltIn, debianAliases = "kernel/drivers/pci/controller/pci-host-generic.ko\n",
		"alias virtio:d00000002v* virtio_blk\nalias virtio:d00000001v* virtio_net\nalias pci:v00001AF4d*sv*sd*bc*sc*i* virtio_pci\n"
	for _, tt := range []struct{ name, builtIn, aliases, want string }{
		{"Debian's", debianBuiltIn, debianAliases, ""},
		{"all built in", debianBuiltIn + "kernel/drivers/virtio/virtio_pci.ko\nkernel/drivers/block/virtio_blk.ko\nkernel/drivers/net/virtio_net.ko\n", "", ""},
		{"Raspberry Pi's", "kernel/drivers/mmc/host/bcm2835-mmc.ko\n", "alias of:N*T*Cbrcm,bcm2711-genet-v5* genet\n", "pci-host-generic virtio_pci virtio_blk virtio_net"},
		{"without a disk", debianBuiltIn, strings.Replace(debianAliases, "virtio:d00000002v*", "virtio:d00000009v*", 1), "virtio_blk"},
	} {
		if got := strings.Join(missing(tt.builtIn, tt.aliases), " "); got != tt.want {
			t.Errorf("%s: lacks %q, want %q", tt.name, got, tt.want)
		}
	}
}
