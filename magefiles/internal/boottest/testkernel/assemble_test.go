package testkernel

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestModulesInTheOrderInWhichTheyLoad(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{
		"modules.dep": "kernel/fs/ext4/ext4.ko.xz: kernel/fs/jbd2/jbd2.ko.xz kernel/lib/crc16.ko.xz\n" +
			"kernel/fs/jbd2/jbd2.ko.xz:\nkernel/lib/crc16.ko.xz:\nkernel/drivers/virtio/virtio_pci.ko.xz: kernel/drivers/virtio/virtio-ring.ko.xz\n" +
			"kernel/drivers/virtio/virtio-ring.ko.xz:\n",
		"modules.builtin": "kernel/fs/overlayfs/overlay.ko\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := inOrder(dir, []string{"virtio_pci", "ext4", "overlay", "virtio_ring"})
	want := []string{
		"kernel/drivers/virtio/virtio-ring.ko.xz", "kernel/drivers/virtio/virtio_pci.ko.xz",
		"kernel/lib/crc16.ko.xz", "kernel/fs/jbd2/jbd2.ko.xz", "kernel/fs/ext4/ext4.ko.xz",
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if _, err := inOrder(dir, []string{"virtio_blk"}); err == nil {
		t.Error("a module that there is not was not missed")
	}
}
